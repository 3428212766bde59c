#!/usr/bin/env bash
# Usage: fuzz.sh DURATION
# Runs every fuzz target of the module for DURATION (such as 30s), one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
duration=${1:?duration of each target, such as 30s}
grep -rlE --include='*_test.go' '^func Fuzz' pkg | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | awk '{print $2}' | while read -r target; do
    echo "== $target in $(dirname "$file") for $duration"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$duration"
  done
done

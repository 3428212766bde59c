#!/usr/bin/env bash
# Prints what `simulate` needs for ten million workloads, as a whole process: seconds and peak memory.
# Targets: 5 s and 200 MiB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
measure=$(mktemp)
trap 'rm -f "$measure"' EXIT
bin/kubectl-cell simulate --workloads 10M --cells 8 --add 1 &
pid=$!
peak=0
# The kernel's own high-water mark; it is gone with the process, so the last value seen counts.
while peak_now=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [[ -n $peak_now ]]; do
  peak=$peak_now
  read -rt 0.02 <> <(:) || true
done
wait "$pid"
printf 'simulate, 10M workloads, 8 cells, 1 joins: %s MiB at the peak (target 200)\n' "$((peak / 1024))"

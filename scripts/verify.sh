#!/usr/bin/env bash
# Fails where a generated file is stale, a Go file is not formatted, or a document names a path that is
# not there. Changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0
complain() { printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2; status=1; }

unformatted=$(gofmt -l cmd config pkg scripts test tools)
[[ -z $unformatted ]] || complain "not formatted: $unformatted" 'gofmt -w cmd config pkg scripts test tools'

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
gen=(go tool "-modfile=$PWD/tools/controller-gen/go.mod" controller-gen)
"${gen[@]}" crd paths=./pkg/apis/... "output:crd:dir=$fresh/crd"
diff -r "$fresh/crd" config/crd >&2 || complain 'config/crd is stale' 'make generate'
"${gen[@]}" object paths=./pkg/apis/... "output:object:dir=$fresh/object"
diff "$fresh/object/zz_generated.deepcopy.go" pkg/apis/kubecell/v1alpha1/zz_generated.deepcopy.go >&2 ||
  complain 'the deepcopy functions are stale' 'make generate'
go run ./scripts/generate --check || status=1

# A path in a document stands in backquotes and begins with a folder of the repository.
while IFS=: read -r file path; do
  [[ -e ${path%%[*#]*} ]] || complain "$file names $path, which does not exist" "correct $file"
done < <(grep -oHE '`(cmd|config|docs|pkg|plugins|scripts|test|tools|completions)/[A-Za-z0-9_./-]+`' README.md $(find docs -name '*.md' -not -path 'docs/cli/*') | tr -d '`')

exit "$status"

#!/usr/bin/env bash
# Usage: build.sh OUT
#
# Puts the binary with Kubernetes' specs at OUT. As with the control plane, a cold build takes minutes, so the
# binary is kept outside the clone, named by a hash of everything that goes into it.
#
#   KUBECELL_BUILD_CACHE  where binaries are kept (default: $XDG_CACHE_HOME/kubectl-cell/build)
set -euo pipefail
[[ $# -eq 1 && -n $1 ]] || { echo 'error: build.sh takes one argument, the path of the binary' >&2; exit 2; }
out=$1
[[ $out == /* ]] || out=$PWD/$out
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly name=conformance.test keep=2

# The hash of what the binary is made of, the compiler, and this script with its flags.
content_hash() {
  {
    go env GOVERSION GOOS GOARCH CGO_ENABLED GOFLAGS GOEXPERIMENT GOAMD64 GOARM64
    find *.go go.mod go.sum build.sh result selection -type f ! -path '*/*_test.go' | LC_ALL=C sort | while read -r file; do
      printf '%s ' "$file"
      git hash-object --no-filters "$file"
    done
  } | git hash-object --stdin | cut -c1-16
}

cache=${KUBECELL_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-cell/build}
mkdir -p "$cache" "$(dirname "$out")"
cached=$cache/$name-$(content_hash)
if [[ ! -x $cached ]]; then
  echo 'building the conformance specs: 5 to 7 minutes on 2 cores once the control plane is built, 10 to 12 without' >&2
  trap 'rm -f "$cached.$$"' EXIT
  # Without -vet=off all that it is made of is vetted as well, which takes several times as long as compiling it.
  go test -c -vet=off -ldflags '-s -w' -o "$cached.$$" .
  chmod a-w "$cached.$$"
  mv -f "$cached.$$" "$cached"
fi
touch "$cached"
if [[ ! $out -ef $cached ]]; then
  ln -f "$cached" "$out.$$" 2>/dev/null || cp "$cached" "$out.$$"
  mv -f "$out.$$" "$out"
fi
ls -1t "$cache" | grep "^$name-[0-9a-f]*\$" | tail -n +$((keep + 1)) | while read -r old; do
  rm -f "${cache:?}/$old"
done

#!/usr/bin/env bash
# Usage: build.sh OUT
#
# Puts the cell-controlplane binary at OUT. A cold build takes minutes, so the binary is kept outside the
# clone, named by a hash of everything that goes into it: as long as nothing changed, nothing is built,
# in this clone or any other one. Safe to run several times at once.
#
#   KUBECELL_BUILD_CACHE  where binaries are kept (default: $XDG_CACHE_HOME/kubectl-cell/build)
set -euo pipefail

readonly kubernetes_version=v1.36.3
readonly keep=3
readonly heartbeat_seconds=20

fail() {
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

[[ $# -eq 1 && -n $1 ]] || fail "build.sh takes one argument, the path of the binary" "build.sh bin/cell-controlplane"
out=$1
[[ $out == /* ]] || out=$PWD/$out
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v go >/dev/null || fail "there is no go on PATH" "install Go 1.26 or later"

# The hash of all sources, the compiler, and this script with its flags; tests do not count.
content_hash() {
  {
    go env GOVERSION GOOS GOARCH CGO_ENABLED GOFLAGS GOEXPERIMENT GOAMD64 GOARM64
    find . -type f \( -name '*.go' -o -name go.mod -o -name go.sum -o -name build.sh \) ! -name '*_test.go' |
      LC_ALL=C sort | while read -r file; do
      printf '%s ' "$file"
      git hash-object --no-filters "$file"
    done
  } | git hash-object --stdin | cut -c1-16
}

# A link costs neither time nor space, but only works on the same file system.
install_binary() {
  mkdir -p "$(dirname "$out")" || fail "directory of $out cannot be made" "choose another place for the binary"
  [[ $out -ef $cached ]] && return
  local tmp="$out.$$"
  ln -f "$cached" "$tmp" 2>/dev/null || cp "$cached" "$tmp"
  mv -f "$tmp" "$out"
}

link_flags() {
  local component=k8s.io/component-base/version
  local major minor
  IFS=. read -r major minor _ <<<"${kubernetes_version#v}"
  printf -- '-s -w'
  printf -- ' -X %s' "main.version=$hash" \
    "$component.gitVersion=$kubernetes_version" "$component.gitMajor=$major" "$component.gitMinor=$minor" \
    "$component.gitTreeState=clean" "k8s.io/client-go/pkg/version.gitVersion=$kubernetes_version" \
    "k8s.io/client-go/pkg/version.gitMajor=$major" "k8s.io/client-go/pkg/version.gitMinor=$minor"
}

# Builds beside the place and moves at the end: what is in the cache is whole.
build() {
  local tmp="$cache/.$hash.$$" start=$SECONDS beat
  echo "building cell-controlplane; a cold build takes 6-8 minutes on 2 cores" >&2
  heartbeat "$start" &
  beat=$!
  trap 'kill "$beat" 2>/dev/null; rm -f "$tmp"' EXIT
  go build -buildvcs=false -ldflags "$(link_flags)" -o "$tmp" . ||
    fail "building cell-controlplane failed" "the compiler's messages are above"
  # Whoever overwrites OUT in place would write through the link into the cache.
  chmod a-w "$tmp"
  mv -f "$tmp" "$cached"
  kill "$beat" 2>/dev/null || true
  trap - EXIT
  echo "built cell-controlplane in $((SECONDS - start)) s" >&2
}

# The sleep keeps no stream open: who reads our output to its end does not wait for it.
heartbeat() {
  while sleep "$heartbeat_seconds" </dev/null >/dev/null 2>&1; do
    echo "building cell-controlplane: $((SECONDS - $1)) s" >&2
  done
}

prune() {
  local old
  ls -1t "$cache" | grep '^cell-controlplane-' | tail -n +$((keep + 1)) | while read -r old; do
    rm -f "${cache:?}/$old"
  done
}

cache=${KUBECELL_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-cell/build}
mkdir -p "$cache" || fail "directory $cache cannot be made" "set KUBECELL_BUILD_CACHE to one that can"
hash=$(content_hash)
cached=$cache/cell-controlplane-$hash

if [[ ! -x $cached ]]; then
  exec 9>"$cache/lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    echo "another build of cell-controlplane runs; waiting for it" >&2
    flock 9
  fi
  [[ -x $cached ]] || build
  exec 9>&-
fi
touch "$cached"
install_binary
prune

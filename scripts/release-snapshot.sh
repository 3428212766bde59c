#!/usr/bin/env bash
# Builds archives and packages for all platforms into dist/, checks them, and publishes nothing. Offline: make
# release-tools downloads what it takes beforehand. The first run compiles everything six times: many minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What is downloaded unseen would be missed here.
export GOPROXY=off
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

for tool in goreleaser cyclonedx-gomod krew; do
  go -C "tools/$tool" build -o "$tools/" tool || {
    printf 'error: tools/%s cannot be built offline\n  hint: make release-tools\n' "$tool" >&2
    exit 1
  }
done
PATH="$tools:$PATH" goreleaser release --snapshot --clean

"$tools/validate-krew-manifest" -manifest dist/krew/cell.yaml -skip-install
found=$(find dist -maxdepth 1 -name 'kubectl-cell_*' \( -name '*.tar.gz' -o -name '*.zip' -o -name '*.deb' -o -name '*.rpm' \) | wc -l)
sboms=$(find dist -name '*.cdx.json' | wc -l)
[[ $found == 10 && $sboms == 6 ]] || { echo "error: $found archives and packages, $sboms SBOMs; want 10 and 6" >&2; exit 1; }
(cd dist && sha256sum --quiet --check checksums.txt)
KUBECELL_DIST=$PWD/dist go test -count=1 -tags release ./test/packaging
echo "dist/ is complete: $found archives and packages, $sboms SBOMs, checksums, krew manifest"

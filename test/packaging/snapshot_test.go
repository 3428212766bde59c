//go:build release

package packaging_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"testing"
)

// distribution is the folder that `make release-snapshot` has filled.
func distribution(t *testing.T) string {
	t.Helper()
	dist := os.Getenv("KUBECELL_DIST")
	if dist == "" {
		t.Fatal("KUBECELL_DIST names no folder; make release-snapshot fills one, and runs this")
	}
	return dist
}

// TestSnapshot wants the manifest that goreleaser writes, and the archives that it names, each for its machine, and installs
// that of this machine.
func TestSnapshot(t *testing.T) {
	dist := distribution(t)
	m := readManifest(t, filepath.Join(dist, "krew", "cell.yaml"))
	for _, problem := range m.check("cell.yaml") {
		t.Error(problem)
	}
	beside, seen := readConfig(t).beside(t), map[machine]bool{}
	for _, p := range m.Spec.Platforms {
		seen[p.on()] = true
		archive := filepath.Join(dist, path.Base(p.URI))
		t.Run(path.Base(p.URI), func(t *testing.T) {
			content, err := os.ReadFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != p.SHA256 {
				t.Errorf("it has the checksum %x, the manifest says %s", sum, p.SHA256)
			}
			in, err := readArchive(archive)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range p.checkArchive(in, beside) {
				t.Error(problem)
			}
		})
	}
	for _, p := range readManifest(t, filepath.Join(root, "plugins", "cell.yaml")).Spec.Platforms {
		if !seen[p.on()] {
			t.Errorf("there is no archive for %v", p.on())
		}
	}
	here := platformHere(t, m)
	requireWorks(t, install(t, filepath.Join(dist, path.Base(here.URI)), here, "kubectl-cell"), "kubectl cell")
}

// TestPackages wants in each package what .goreleaser.yaml says, and nothing else.
func TestPackages(t *testing.T) {
	dist, c := distribution(t), readConfig(t)
	for _, packager := range []string{"deb", "rpm"} {
		for _, arch := range []string{"amd64", "arm64"} {
			t.Run(packager+" for "+arch, func(t *testing.T) {
				found, err := filepath.Glob(filepath.Join(dist, "kubectl-cell_*_linux_"+arch+"."+packager))
				if err != nil || len(found) != 1 {
					t.Fatalf("packages: %q, %v; want one", found, err)
				}
				in, err := readArchive(found[0])
				if err != nil {
					t.Fatal(err)
				}
				for _, problem := range checkPackage(in, c.packaged(t, packager), arch) {
					t.Error(problem)
				}
			})
		}
	}
}

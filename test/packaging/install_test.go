package packaging_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// install does what krew does with a verified archive: it extracts it, moves the files that the manifest names, all of
// them where it names none, into a folder of the plugin, and links the one program into a folder on PATH under the
// plugin's name.
func install(t *testing.T, archive string, p platform, as string) (linked string) {
	t.Helper()
	extracted, store, bin := t.TempDir(), t.TempDir(), t.TempDir()
	extract(t, archive, extracted)
	files := []fileMove{{From: "*", To: "."}}
	if p.Files != nil {
		files = *p.Files
	}
	for _, f := range files {
		found, err := filepath.Glob(filepath.Join(extracted, f.From))
		if err != nil || len(found) == 0 {
			t.Fatalf("nothing in the archive matches %s: %v", f.From, err)
		}
		for _, from := range found {
			if err := os.Rename(from, filepath.Join(store, f.To, filepath.Base(from))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(store, "LICENSE")); err != nil {
		t.Error("the LICENSE was not installed")
	}
	linked = filepath.Join(bin, as)
	if err := os.Symlink(filepath.Join(store, p.Bin), linked); err != nil {
		t.Fatal(err)
	}
	return linked
}

func extract(t *testing.T, archive, into string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(into, filepath.Clean("/"+entry.Name))
		if entry.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, entry.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// pack makes an archive of this build as .goreleaser.yaml lays one out.
func pack(t *testing.T) string {
	t.Helper()
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubectl-cell.tar.gz")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(zipped)
	for name, from := range map[string]string{"kubectl-cell": cell, "LICENSE": root + "/LICENSE", "README.md": root + "/README.md"} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// platformHere is the platform of a manifest for this machine.
func platformHere(t *testing.T, m *manifest) platform {
	t.Helper()
	for _, p := range m.Spec.Platforms {
		if p.Selector.MatchLabels["os"] == runtime.GOOS && p.Selector.MatchLabels["arch"] == runtime.GOARCH {
			return p
		}
	}
	t.Fatalf("the manifest has nothing for %s/%s", runtime.GOOS, runtime.GOARCH)
	return platform{}
}

// An index may call the plugin something else. What it then says of itself is what people have to type.
func TestInstallAsKrewDoes(t *testing.T) {
	archive := pack(t)
	here := platformHere(t, readManifest(t, filepath.Join(root, "plugins", "cell.yaml")))
	for linked, typed := range map[string]string{
		"kubectl-cell": "kubectl cell", "kubectl-kubecell": "kubectl kubecell", "kubectl-kube_cell": "kubectl kube-cell",
	} {
		t.Run(linked, func(t *testing.T) { requireWorks(t, install(t, archive, here, linked), typed) })
	}
}

func requireWorks(t *testing.T, program, typed string) {
	t.Helper()
	out, err := exec.Command(program, "version", "--client").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "client: ") {
		t.Errorf("version: %v\n%s", err, out)
	}
	out, err = exec.Command(program, "where", "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "  "+typed+" where ") {
		t.Errorf("help does not say %q: %v\n%s", typed, err, out)
	}
	requireHints(t, program, typed)
}

// requireHints: what helps against an error begins with what people have to type, too.
func requireHints(t *testing.T, program, typed string) {
	t.Helper()
	controlPlane, _, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	environ := append(os.Environ(), "HOME="+home, "KUBECTL_CELL_HOME="+home, "KUBECONFIG="+filepath.Join(home, "config"),
		sandbox.ControlPlaneEnv+"="+controlPlane)
	for _, test := range []struct {
		words []string
		hint  string
	}{
		{[]string{"sandbox", "cell", "add", "cell-9"}, typed + " sandbox up --name cell-sandbox"},
		{[]string{"sandbox", "up", "--cells", "0"}, typed + " sandbox up --cells 3"},
		{[]string{"version", "--nonsense"}, typed + " version --help"},
		{[]string{"completion", "install", "--dir", "kubectl cell up"}, "mkdir -p kubectl cell up"},
	} {
		cmd := exec.Command(program, test.words...)
		cmd.Env = environ
		if out, err := cmd.CombinedOutput(); err == nil || !strings.HasSuffix(string(out), "\n  hint: "+test.hint+"\n") {
			t.Errorf("%s is not answered with the hint %q: %v\n%s", test.words, test.hint, err, out)
		}
	}
}

// What `make release-snapshot` has made: the manifest that goreleaser writes, and the archive for this machine.
func TestSnapshot(t *testing.T) {
	dist := os.Getenv("KUBECELL_DIST")
	if dist == "" {
		dist = snapshotOfThisBuild(t)
	}
	m := readManifest(t, filepath.Join(dist, "krew", "cell.yaml"))
	for _, problem := range m.check("cell.yaml") {
		t.Error(problem)
	}
	here := platformHere(t, m)
	archive := filepath.Join(dist, filepath.Base(here.URI))
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != here.SHA256 {
		t.Errorf("%s has the checksum %x, the manifest says %s", archive, sum, here.SHA256)
	}
	requireWorks(t, install(t, archive, here, "kubectl-cell"), "kubectl cell")
}

// snapshotOfThisBuild is a folder laid out as dist/, with the archive of this build for this machine.
func snapshotOfThisBuild(t *testing.T) string {
	t.Helper()
	dist := t.TempDir()
	if err := os.Mkdir(filepath.Join(dist, "krew"), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "plugins", "cell.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(pack(t))
	if err != nil {
		t.Fatal(err)
	}
	here := platformHere(t, readManifest(t, filepath.Join(root, "plugins", "cell.yaml")))
	if err := os.WriteFile(filepath.Join(dist, filepath.Base(here.URI)), content, 0o600); err != nil {
		t.Fatal(err)
	}
	sums := strings.ReplaceAll(string(data), here.SHA256, fmt.Sprintf("%x", sha256.Sum256(content)))
	if err := os.WriteFile(filepath.Join(dist, "krew", "cell.yaml"), []byte(sums), 0o600); err != nil {
		t.Fatal(err)
	}
	return dist
}

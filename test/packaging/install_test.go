package packaging_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

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
	in, err := readArchive(archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range in {
		to := filepath.Join(into, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, one.content, one.mode); err != nil {
			t.Fatal(err)
		}
	}
}

// pack makes an archive for a platform in a folder as .goreleaser.yaml lays one out, under the name that the manifest gives it.
// The program is this build, or the beginning of one for another machine.
func pack(t *testing.T, folder string, p platform) (archive string) {
	t.Helper()
	in := readConfig(t).beside(t)
	in[p.Bin] = entry{0o755, stub(p.on())}
	if p.on() == (machine{runtime.GOOS, runtime.GOARCH}) {
		_, cell, err := sandboxtest.Binaries()
		if err != nil {
			t.Fatal(err)
		}
		in[p.Bin] = fromFile(t, cell, 0o755)
	}
	var packed bytes.Buffer
	var err error
	if archive = filepath.Join(folder, path.Base(p.URI)); filepath.Ext(archive) == ".zip" {
		err = writeZip(&packed, in)
	} else {
		err = writeTar(&packed, in)
	}
	if err == nil {
		err = os.WriteFile(archive, packed.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func writeTar(w io.Writer, in contents) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	for name, one := range in {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: int64(one.mode), Size: int64(len(one.content))}); err != nil {
			return err
		}
		if _, err := archive.Write(one.content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

func writeZip(w io.Writer, in contents) error {
	archive := zip.NewWriter(w)
	for name, one := range in {
		file, err := archive.Create(name)
		if err != nil {
			return err
		}
		if _, err := file.Write(one.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// platformHere is the platform of a manifest for this machine.
func platformHere(t *testing.T, m *manifest) platform {
	t.Helper()
	for _, p := range m.Spec.Platforms {
		if p.on() == (machine{runtime.GOOS, runtime.GOARCH}) {
			return p
		}
	}
	t.Fatalf("the manifest has nothing for %s/%s", runtime.GOOS, runtime.GOARCH)
	return platform{}
}

// An index may call the plugin something else. What it then says of itself is what people have to type.
func TestInstallAsKrewDoes(t *testing.T) {
	here := platformHere(t, readManifest(t, filepath.Join(root, "plugins", "cell.yaml")))
	archive := pack(t, t.TempDir(), here)
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

// What `make release-snapshot` has made: the manifest that goreleaser writes, and the archives that it names, each for its machine.
func TestSnapshot(t *testing.T) {
	dist := os.Getenv("KUBECELL_DIST")
	if dist == "" {
		dist = snapshotOfThisBuild(t)
	}
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

// snapshotOfThisBuild is a folder laid out as dist/, with an archive for each machine; that for this one has this build.
func snapshotOfThisBuild(t *testing.T) string {
	t.Helper()
	dist := t.TempDir()
	m := readManifest(t, filepath.Join(root, "plugins", "cell.yaml"))
	for i, p := range m.Spec.Platforms {
		content, err := os.ReadFile(pack(t, dist, p))
		if err != nil {
			t.Fatal(err)
		}
		m.Spec.Platforms[i].SHA256 = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	data, err := yaml.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dist, "krew"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dist, "krew", "cell.yaml"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dist
}

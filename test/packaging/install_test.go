package packaging_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
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

// pack makes an archive for this machine in a folder as .goreleaser.yaml lays one out, with this build, under the name that
// the manifest gives it.
func pack(t *testing.T, folder string, here platform) (archive string) {
	t.Helper()
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	in := readConfig(t).beside(t)
	in[here.Bin] = fromFile(t, cell, 0o755)
	archive = filepath.Join(folder, path.Base(here.URI))
	writeArchive(t, archive, in)
	return archive
}

// writeArchive writes an archive of the kind that its name says.
func writeArchive(t *testing.T, archive string, in contents) {
	t.Helper()
	var packed bytes.Buffer
	write := writeTar
	if filepath.Ext(archive) == ".zip" {
		write = writeZip
	}
	err := write(&packed, in)
	if err == nil {
		err = os.WriteFile(archive, packed.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
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
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(one.mode)
		file, err := archive.CreateHeader(header)
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

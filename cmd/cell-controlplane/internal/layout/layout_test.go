package layout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

func TestOpenMakesPrivateDirectories(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	dir, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{root, dir.PKI(), dir.Etcd(), filepath.Dir(dir.Kubeconfig("admin"))} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o, want 700", path, info.Mode().Perm())
		}
	}
	if leftovers, _ := filepath.Glob(filepath.Join(root, ".probe-*")); len(leftovers) > 0 {
		t.Errorf("left behind: %v", leftovers)
	}
}

// A user's own directory is not taken from the others who use it.
func TestOpenKeepsModeOfExistingDirectory(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(root)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode: got %o, want 755", info.Mode().Perm())
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); fault.Code(err) != fault.Failed {
		t.Errorf("got %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"first and longer", "second"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != content {
			t.Errorf("got %q, %v, want %q", data, err, content)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "file"), nil, 0o600); err == nil {
		t.Error("writing below a directory that does not exist succeeds")
	}
}

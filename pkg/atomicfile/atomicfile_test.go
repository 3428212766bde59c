package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
)

// in returns the content of all files of a folder, by their names.
func in(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

// TestWrite makes a file and replaces it: each time there is that file alone, with the mode that was asked for last.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	for _, test := range []struct {
		content string
		mode    fs.FileMode
	}{{"the first", 0o600}, {"the second, for others to run", 0o755}, {"", 0o644}} {
		if err := atomicfile.WriteBytes(path, test.mode, []byte(test.content)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"file": test.content}, in(t, folder)); diff != "" {
			t.Errorf("the folder (-want +got):\n%s", diff)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != test.mode {
			t.Errorf("mode %o, want %o", got, test.mode)
		}
	}
}

// TestOldOrNew looks at the folder while a file is being written and after that has failed: the old one is as it was, what
// is there of the new one cannot be taken for it, and in the end nothing is left of that.
func TestOldOrNew(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := atomicfile.WriteBytes(path, 0o644, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no more to be had")
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		if _, err := io.WriteString(w, "ne"); err != nil {
			t.Error(err)
		}
		during := in(t, folder)
		if during["file"] != "old" || len(during) != 2 {
			t.Errorf("while the file is written there are %q, want the old one and one more", during)
		}
		for name := range during {
			if name != "file" && name[0] != '.' {
				t.Errorf("%s is not hidden", name)
			}
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the one of the function that writes", err)
	}
	if diff := cmp.Diff(map[string]string{"file": "old"}, in(t, folder)); diff != "" {
		t.Errorf("the folder after a failure (-want +got):\n%s", diff)
	}
}

// TestNoPlace writes where no file can be, which stops root, too: the error names the place, and nothing is left.
func TestNoPlace(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(folder, "folder", "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"missing/file", "file/below", "folder"} {
		err := atomicfile.WriteBytes(filepath.Join(folder, place), 0o600, []byte("new"))
		var atPath *fs.PathError
		var renaming *os.LinkError
		if !errors.As(err, &atPath) && !errors.As(err, &renaming) {
			t.Errorf("%s: error %v, want one of package os", place, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"file": "a file"}, in(t, folder)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
}

// TestTry says where a file can be made, and leaves none.
func TestTry(t *testing.T) {
	folder := t.TempDir()
	if err := atomicfile.Try(folder); err != nil {
		t.Error(err)
	}
	if left := in(t, folder); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"missing", "file"} {
		if atomicfile.Try(filepath.Join(folder, place)) == nil {
			t.Errorf("a file can be made in %s, which is no folder", place)
		}
	}
}

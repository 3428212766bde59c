//go:build linux

package failover_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestAFailbackOntoAFullDisk stops before anything is deleted in the cell, wherever the disk is full: at the last of its objects,
// or at a copy of one that could not be promoted; and where the folder is none. The same command goes on, also with another
// folder. Objects whose names are too long for files are saved as well.
func TestAFailbackOntoAFullDisk(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(20) // more than are compared at once: the first ones are done before the last one is looked at
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	direct := configMaps{b, b.cells["cell-1"]}
	const last = "zz-last"
	long := strings.Repeat("y", 253)
	for _, name := range []string{last, long} {
		_, err := direct.create(name, "cell")
		b.must(err)
	}
	b.seal(last, "cell-1", "cell-2") // as if it could not be promoted
	b.gates["cell-1"].Pass()

	dir := t.TempDir()
	folder := filepath.Join(dir, "configmaps", b.namespace)
	failback := func(dir string) (*v1alpha1.Failover, error) {
		ctx, cancel := contextWithTimeout(t, patience)
		defer cancel()
		f := &failover.Failback{
			RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
		}
		return f.Run(ctx)
	}
	stops := func(dir, why string) {
		t.Helper()
		before := b.versions("cell-1")
		_, err := failback(dir)
		if exit.CodeOf(err) != exit.Failure || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("it ended with %v; want an error on one line that says %q", err, why)
		}
		if hint := exit.HintOf(err, exit.Plugin); !strings.Contains(hint, "kubectl cell failback cell-1 --dir ") {
			t.Errorf("the hint is %q", hint)
		}
		if after := b.versions("cell-1"); after != before {
			t.Errorf("%s, and the cell has changed from %s to %s", why, before, after)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	b.must(os.WriteFile(file, nil, 0o600))
	stops(file, file+": not a directory")
	b.must(os.MkdirAll(folder, 0o700))
	for _, ending := range []string{".cell.yaml", ".copy.yaml"} {
		b.must(os.Symlink("/dev/full", filepath.Join(folder, last+ending)))
		stops(dir, last+ending+": no space left on device")
		if _, err := os.Lstat(filepath.Join(folder, last+ending)); err == nil {
			t.Errorf("half of %s is left", ending)
		}
	}
	other := t.TempDir()
	run, err := failback(other)
	b.must(err)
	if run.Status.Phase != v1alpha1.FailoverSucceeded || b.versions("cell-1") != "" {
		t.Errorf("with room it ended %s, and the cell has %s", run.Status.Phase, b.versions("cell-1"))
	}
	if want := "here:" + file + ", here:" + dir + ", here:" + other; run.Status.Quarantine != want {
		t.Errorf("the record says that it is in %s; want %s", run.Status.Quarantine, want)
	}
	folder = filepath.Join(other, "configmaps", b.namespace)
	b.saved(other, last, "cell", "")
	copied, err := os.ReadFile(filepath.Join(folder, last+".copy.yaml"))
	if b.must(err); !strings.Contains(string(copied), "value: cell") {
		t.Errorf("the copy that could not be promoted is saved as %s", copied)
	}
	saved, err := filepath.Glob(filepath.Join(folder, "yyy*.cell.yaml"))
	if b.must(err); len(saved) != 1 {
		t.Fatalf("of the long name there is %q", saved)
	}
	b.saved(other, strings.TrimSuffix(filepath.Base(saved[0]), ".cell.yaml"), "cell", "")
}

// versions are the config maps of this test in a cell, as they are.
func (b *bed) versions(cell string) string {
	b.t.Helper()
	list, err := b.cells[cell].CoreV1().ConfigMaps(b.namespace).List(b.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	b.must(err)
	var out strings.Builder
	for _, cm := range list.Items {
		out.WriteString(cm.Name + "@" + cm.ResourceVersion + " ")
	}
	return out.String()
}

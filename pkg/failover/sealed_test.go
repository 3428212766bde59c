package failover_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// damage puts an envelope of a cell's object into another cell that nobody can open, under the name that it has or another
// one.
func (b *bed) damage(object, source, cell, name string) *corev1.Secret {
	b.t.Helper()
	secret := b.sealed(object, source, cell)
	secret.Data[envelope.DataKey] = []byte("damaged in " + cell)
	if name != "" {
		secret.Name = name
	}
	made, err := b.cells[cell].CoreV1().Secrets(v1alpha1.Namespace).Create(b.t.Context(), secret, metav1.CreateOptions{})
	b.must(err)
	return made
}

// asTheyAre wants these Secrets of cells in a folder, each as it was and for its owner alone to read, and no others.
func (b *bed) asTheyAre(dir string, secrets map[*corev1.Secret]string) {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "secrets", v1alpha1.Namespace, "*", "*.yaml"))
	b.must(err)
	saved := map[types.UID]*corev1.Secret{}
	for _, file := range files {
		info, err := os.Stat(file)
		b.must(err)
		if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
			b.t.Errorf("%s has mode %o", file, mode)
		}
		text, err := os.ReadFile(file)
		b.must(err)
		secret := &corev1.Secret{}
		b.must(yaml.Unmarshal(text, secret))
		saved[secret.UID] = secret
		for want, cell := range secrets {
			if want.UID == secret.UID && filepath.Base(filepath.Dir(file)) != cell {
				b.t.Errorf("%s is from cell %s", file, cell)
			}
		}
	}
	for want, cell := range secrets {
		got := saved[want.UID]
		if got == nil || got.Kind != "Secret" || got.APIVersion != "v1" || got.Name != want.Name || got.Type != want.Type ||
			!bytes.Equal(got.Data[envelope.DataKey], want.Data[envelope.DataKey]) ||
			got.Annotations[v1alpha1.AnnotationEnvelope] != want.Annotations[v1alpha1.AnnotationEnvelope] {
			b.t.Errorf("of %s in cell %s there is %+v", want.Name, cell, got)
		}
	}
	if len(files) != len(secrets) {
		b.t.Errorf("saved are %q; want %d", files, len(secrets))
	}
}

// TestCopiesThatNobodyCanRead may be all that is left of their objects. Whoever gives the cell up, or brings it back, has
// them in files before they are deleted: of one object in two cells, and under a name that is too long for a file.
func TestCopiesThatNobodyCanRead(t *testing.T) {
	for _, way := range []string{"given up", "brought back"} {
		t.Run(way, func(t *testing.T) {
			b := newBed(t)
			b.returnsAfterwards("cell-1")
			ours, others := b.fill(1)
			b.backUp(ours...)
			b.dies("cell-1")
			b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
			_, err := (configMaps{b, b.cells["cell-1"]}).create("lost", "lost")
			b.must(err)
			damaged := map[*corev1.Secret]string{
				b.damage("lost", "cell-1", "cell-2", ""):                       "cell-2",
				b.damage("lost", "cell-1", "cell-3", ""):                       "cell-3",
				b.damage("lost", "cell-1", "cell-3", strings.Repeat("z", 253)): "cell-3",
			}
			dir := t.TempDir()
			var kept []v1alpha1.FailoverKept
			if way == "given up" {
				done, err := b.forget(dir).Run(t.Context())
				b.must(err)
				if kept = done.Kept; done.KeptObjects != int64(len(damaged)) || done.Dir != dir {
					t.Errorf("said was %+v; want %d in %s", done, len(damaged), dir)
				}
			} else {
				owner, _ := b.owner(others[0])
				damaged[b.damage(others[0], owner, "cell-1", "")] = "cell-1"
				b.gates["cell-1"].Pass()
				ctx, cancel := contextWithTimeout(t, patience)
				defer cancel()
				run, err := (&failover.Failback{
					RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
				}).Run(ctx)
				b.must(err)
				kept = run.Status.Kept
			}
			b.asTheyAre(dir, damaged)
			corrupt := 0
			for _, k := range kept {
				if k.Reason == "Corrupt" {
					corrupt++
				}
			}
			if corrupt != len(damaged) || b.envelopes("cell-1") != 0 {
				t.Errorf("%d are named of %d, and %d are left", corrupt, len(damaged), b.envelopes("cell-1"))
			}
		})
	}
}

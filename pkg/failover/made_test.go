package failover_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// goesBack has cell-1 fail over and come back, as far as that it takes writes and is in no ring. It returns what goes on with the
// failback, and the objects that were in the cell.
func (b *bed) goesBack() (goOn func() *failover.Failback, ours []string) {
	t := b.t.(*testing.T)
	t.Helper()
	ours, _ = b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.gates["cell-1"].Pass()
	dir := t.TempDir()
	goOn = func() *failover.Failback {
		return &failover.Failback{
			RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
		}
	}
	ctx, stop := contextWithTimeout(t, patience)
	defer stop()
	f := goOn()
	f.Step = func(s failover.StepName) {
		if s == failover.StepAdmit {
			stop()
		}
	}
	if _, err := f.Run(ctx); err == nil {
		t.Fatal("it was not cut off")
	}
	b.must(failover.Thaw(t.Context(), b.configs["cell-1"]))
	return goOn, ours
}

// TestWhatIsMadeInACellThatComesBack, before it joins, is compared and goes like what was there before. What comes back again
// and again is named.
func TestWhatIsMadeInACellThatComesBack(t *testing.T) {
	b := newBed(t)
	goOn, ours := b.goesBack()
	direct := configMaps{b, b.cells["cell-1"]}
	for _, name := range []string{ours[0], "late"} {
		_, err := direct.create(name, "late")
		b.must(err)
	}
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	maps := b.cells["cell-1"].CoreV1().ConfigMaps(b.namespace)
	_, err := maps.Create(t.Context(), held, metav1.CreateOptions{})
	b.must(err)
	b.must(maps.Delete(t.Context(), held.Name, metav1.DeleteOptions{})) // it waits for whoever holds it
	again, stop := context.WithCancel(t.Context())
	defer stop()
	var making sync.WaitGroup
	making.Go(func() {
		_ = wait.PollUntilContextCancel(again, 10*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "again"}}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
				t.Errorf("make it again: %v", err)
			}
			return false, nil
		})
	})
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()
	_, err = goOn().Run(ctx)
	stop()
	making.Wait()
	if exit.CodeOf(err) != exit.Partial || !strings.Contains(err.Error(), "configmaps "+b.namespace+"/again") {
		t.Errorf("while somebody makes one again and again: %v; want its name", err)
	}
	f := goOn()
	run, err := f.Run(ctx)
	b.must(err)
	if kept := b.kept(run); run.Status.Phase != v1alpha1.FailoverSucceeded || !slices.Contains(kept, "late OnlyHere") || !slices.Contains(kept, ours[0]+" Diverged") {
		t.Errorf("it ended %s, and kept %v", run.Status.Phase, kept)
	}
	b.savedEach(f.Dir, "again")
	b.saved(f.Dir, "late", "late", "")
	b.saved(f.Dir, ours[0], "late", "1")
	for _, name := range []string{ours[0], "late", "held", "again"} {
		if _, err := direct.get(name); !apierrors.IsNotFound(err) {
			t.Errorf("%s in the cell: %v; want that it is gone", name, err)
		}
	}
	for _, name := range ours {
		if cm, err := b.maps().get(name); err != nil || cm.Data["value"] != "1" {
			t.Errorf("%s in the federation: %v, %v; want it as it was", name, cm, err)
		}
	}
}

// savedEach wants the objects that were made one after the other under a name to be saved, none in the place of another.
func (b *bed) savedEach(dir, name string) {
	b.t.Helper()
	folder := filepath.Join(dir, "configmaps", b.namespace)
	files, err := filepath.Glob(filepath.Join(folder, name+"*.cell.yaml"))
	b.must(err)
	seen := map[types.UID]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		b.must(err)
		var object metav1.PartialObjectMetadata
		b.must(yaml.Unmarshal(text, &object))
		if other, twice := seen[object.UID]; twice || object.UID == "" {
			b.t.Errorf("%s has the object %q, as %q has", file, object.UID, other)
		}
		seen[object.UID] = file
		if base := filepath.Base(file); base != name+".cell.yaml" && base != name+"-"+string(object.UID)+".cell.yaml" {
			b.t.Errorf("the object %s is in %s", object.UID, base)
		}
	}
	if len(files) < 2 {
		b.t.Errorf("of the objects that were made as %s one after the other there is %q", name, files)
	}
}

// TestACellThatJoinsMeanwhileKeepsWhatItHas: it is in the wanted ring by the time that its objects are seen.
func TestACellThatJoinsMeanwhileKeepsWhatItHas(t *testing.T) {
	b := newBed(t)
	goOn, _ := b.goesBack()
	direct := configMaps{b, b.cells["cell-1"]}
	_, err := direct.create("its", "own")
	b.must(err)
	f := goOn()
	join := sync.OnceFunc(func() {
		ring := b.ring()
		ring.Spec.Members = layout(cellNames...).Members
		_, err := b.client.Rings().Update(t.Context(), ring, metav1.UpdateOptions{})
		b.must(err)
	})
	f.WrapCell = func(name string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if name == "cell-1" && strings.HasSuffix(r.URL.Path, "/configmaps") {
					join()
				}
				return next.RoundTrip(r)
			})
		})
	}
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()
	run, err := f.Run(ctx)
	b.must(err)
	if cm, err := direct.get("its"); run.Status.Phase != v1alpha1.FailoverSucceeded || err != nil || cm.DeletionTimestamp != nil {
		t.Errorf("it ended %s, and what the joined cell has is %+v, %v", run.Status.Phase, cm, err)
	}
}

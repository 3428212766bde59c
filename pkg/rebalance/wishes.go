package rebalance

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// wishes is the newest spec of a run. It comes by a watch and by reads: what a watch delivers may be older than what was
// read, and must not bring back what somebody wanted before.
type wishes struct {
	mu      sync.Mutex
	run     *v1alpha1.Rebalance // guarded by mu; it is not changed
	changed chan struct{}       // guarded by mu; closed when there is a newer spec
}

func newWishes(run *v1alpha1.Rebalance) *wishes {
	return &wishes{run: run, changed: make(chan struct{})}
}

func (w *wishes) get() (v1alpha1.RebalanceSpec, <-chan struct{}) {
	spec, _, changed := w.newest()
	return spec, changed
}

// newest is the spec and its generation.
func (w *wishes) newest() (v1alpha1.RebalanceSpec, int64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.run.Spec, w.run.Generation, w.changed
}

// set takes a state of the run over, unless it is older than the one that is known.
func (w *wishes) set(run *v1alpha1.Rebalance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if older(run, w.run) {
		return
	}
	same := equality.Semantic.DeepEqual(&w.run.Spec, &run.Spec)
	if w.run = run; same {
		return
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// older says whether a state of a run was before another one. One whose version cannot be compared is not.
func older(a, b *v1alpha1.Rebalance) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && a.UID == b.UID && order < 0
}

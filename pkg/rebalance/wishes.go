package rebalance

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// wishes is the newest spec of a run.
type wishes struct {
	mu      sync.Mutex
	spec    v1alpha1.RebalanceSpec // guarded by mu
	changed chan struct{}          // guarded by mu; closed when there is a newer spec
}

func newWishes(spec *v1alpha1.RebalanceSpec) *wishes {
	return &wishes{spec: *spec.DeepCopy(), changed: make(chan struct{})}
}

func (w *wishes) get() (v1alpha1.RebalanceSpec, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spec, w.changed
}

func (w *wishes) set(spec *v1alpha1.RebalanceSpec) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if equality.Semantic.DeepEqual(&w.spec, spec) {
		return
	}
	w.spec = *spec.DeepCopy()
	close(w.changed)
	w.changed = make(chan struct{})
}

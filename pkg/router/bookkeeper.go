package router

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

// observeEvery is how often the ledger learns where cells stand: they are probed as often.
const observeEvery = time.Second

// bookkeeper keeps the ledger short.
//
// Triggers: time, and each mark that a backup daemon publishes.
// Reads: the marks, which are config maps in kubecell-system of the RCP; the newest probes of the cells.
// Writes: the ledger of this router, and nothing else.
// Why it may run twice: each router has a ledger of its own.
// After a crash: the ledger begins anew.
//
// While the RCP is away no mark comes, and the ledger grows up to its limit.
type bookkeeper struct {
	ledger *ledger.Ledger
	state  func() *feed.State
	marks  cache.SharedIndexInformer
	logger *slog.Logger
}

func newBookkeeper(kube kubernetes.Interface, book *ledger.Ledger, state func() *feed.State, logger *slog.Logger) (*bookkeeper, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(v1alpha1.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks
		}))
	b := &bookkeeper{ledger: book, state: state, logger: logger, marks: factory.Core().V1().ConfigMaps().Informer()}
	_, err := b.marks.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    b.read,
		UpdateFunc: func(_, now any) { b.read(now) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch the marks of the backup: %w", err)
	}
	return b, nil
}

// run ends with ctx.
func (b *bookkeeper) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { b.marks.RunWithContext(ctx) })
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			b.observe()
		}
	}
}

// observe tells the ledger which cells there are, and where they stand.
func (b *bookkeeper) observe() {
	state := b.state()
	cells := state.Cells()
	b.ledger.Keep(cells)
	for _, name := range cells {
		plane, err := state.Raw(name)
		if err != nil {
			continue
		}
		if sample, ok := plane.LastSample(); ok {
			b.ledger.Observe(name, sample.Raw, sample.Started)
		}
	}
	// A mark may have come before the ring did that knows its control plane.
	for _, object := range b.marks.GetStore().List() {
		b.read(object)
	}
}

// read tells the ledger a mark, unless the cell was failed over, or it is that of a control plane which had its name before.
func (b *bookkeeper) read(object any) {
	published, ok := object.(*corev1.ConfigMap)
	state := b.state()
	if !ok || state == nil {
		return
	}
	mark, err := ledger.ParseMark([]byte(published.Data[v1alpha1.MarksKey]))
	switch {
	case err != nil:
		b.logger.Warn("cannot read a mark of the backup", "configMap", published.Name, "err", err)
	case state.Snapshot.Unavailable[mark.Cell]:
		// Its failover goes by what is remembered at the fence, and a daemon that has not seen that may publish still.
	case mark.ControlPlane == state.Snapshot.ControlPlanes[mark.Cell]:
		b.ledger.Reach(mark.Cell, mark)
	}
}

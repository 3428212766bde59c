package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

const (
	defaultLag      = 3 * time.Second
	defaultPageSize = 500
	defaultLimit    = 10_000
)

// Options say what to look at, and how.
type Options struct {
	// RCP is the way to the router control plane, or to a router.
	RCP *rest.Config
	// Namespace is the only one to look at; empty for all.
	Namespace string
	// Full reads the data of all envelopes, not only what they say of it.
	Full bool
	// Lag is the time between the two looks at a suspect, in which a daemon at work brings up to date what it has in
	// hand; 3 s where zero.
	Lag time.Duration
	// PageSize is how many objects one request asks for; 500 where zero.
	PageSize int64
	// Limit is how many findings are kept; 10,000 where zero. The others are counted.
	Limit int
	// Progress is told now and then how far the work is, by one goroutine; nil for nobody.
	Progress func(Progress)
	// WrapCell changes the way to a cell; nil for not.
	WrapCell func(name string, config *rest.Config)
	// Now is the clock where the RCP does not tell the time; time.Now where nil.
	Now func() time.Time
}

// Progress is how far the work is.
type Progress struct {
	// Doing is what is read or done now.
	Doing              string
	Objects, Envelopes int64
}

// Result is what was looked at and found.
type Result struct {
	// Epoch and Phase of the ring at the end.
	Epoch int64              `json:"epoch"`
	Phase v1alpha1.RingPhase `json:"phase"`
	Cells []CheckedCell      `json:"cells"`
	// Objects are the different ones that were met, Envelopes those that were compared.
	Objects   int64 `json:"objects"`
	Envelopes int64 `json:"envelopes"`
	// Pending are objects whose envelopes a daemon is about to write.
	Pending int64 `json:"pending,omitempty"`
	// Uncompared says that envelopes were not compared, or not all of them, though they should be in order some day: that
	// nothing was found says nothing of them.
	Uncompared bool `json:"uncompared,omitempty"`
	// Counts are the findings by class, Findings the first of them, and More is how many there are beyond.
	Counts   map[Class]int64 `json:"counts"`
	Findings []Finding       `json:"findings"`
	More     int64           `json:"more,omitempty"`
	// Warnings say what was not looked at, and why.
	Warnings []string `json:"warnings,omitempty"`
	// MostHeld is how many objects of lists were held at once at the most.
	MostHeld int64 `json:"-"`
}

// Unread says whether a cell could not be read.
func (r *Result) Unread() bool {
	return slices.ContainsFunc(r.Cells, func(c CheckedCell) bool { return c.State == Unreachable })
}

// verifier is one run.
type verifier struct {
	options Options
	kube    kubernetes.Interface
	client  *client.Client
	// clock is that of the RCP.
	clock *lease.Clock
	now   func() time.Time
	// ringCells are those that the ring names.
	ringCells []string
	result    Result
	// suspects wait to be looked at, each once.
	suspects []suspect
	known    map[suspect]bool
	// uids are those of all that may own something.
	uids *filter
	// units are those of dependents that own others, for as many as fit.
	units    map[types.UID]string
	mostHeld int64
	told     time.Time
	// held is how many objects of lists are held now.
	held atomic.Int64

	mu     sync.Mutex             // guards what follows
	cells  map[string]*cell       // those that answer
	states map[string]CheckedCell // all
}

// Run looks at everything and writes nothing. A cell that does not answer is in the result, not an error.
func Run(ctx context.Context, options Options) (*Result, error) {
	v, err := begin(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	return v.finish(), nil
}

// begin connects to everybody.
func begin(ctx context.Context, options Options) (*verifier, error) {
	options.Lag = cmp.Or(options.Lag, defaultLag)
	options.PageSize = cmp.Or(options.PageSize, defaultPageSize)
	options.Limit = cmp.Or(options.Limit, defaultLimit)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Progress == nil {
		options.Progress = func(Progress) {}
	}
	v := &verifier{
		options: options, clock: &lease.Clock{}, now: options.Now, known: map[suspect]bool{}, uids: newFilter(), units: map[types.UID]string{},
		cells: map[string]*cell{}, states: map[string]CheckedCell{}, result: Result{Counts: map[Class]int64{}, Findings: []Finding{}},
	}
	var err error
	rcp := rest.CopyConfig(options.RCP)
	rcp.Wrap(v.clock.Watch)
	if v.kube, v.client, err = client.Connect(rcp); err != nil {
		return nil, err
	}
	ring, err := v.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && ring.Status.Current == nil {
		return nil, exit.Errorf(exit.Failure, "this control plane has no Ring %q that places anything", v1alpha1.RingName).WithHint("kubectl cell init")
	}
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	for _, layout := range []*v1alpha1.RingLayout{ring.Status.Current, ring.Status.Target} {
		if layout != nil {
			for _, m := range layout.Members {
				v.ringCells = append(v.ringCells, m.Cell)
			}
		}
	}
	return v, v.connect(ctx, ring.Status.Unavailable)
}

// run reads objects and envelopes, and looks at the suspects.
func (v *verifier) run(ctx context.Context) error {
	w, err := v.observe(ctx)
	if err != nil {
		return err
	}
	compare := v.canCompare(w)
	d := newDigests()
	if err := v.scan(ctx, w, d, compare); err != nil {
		return err
	}
	if compare {
		if err := v.compareEnvelopes(ctx, w, d); err != nil {
			return err
		}
	}
	if err := v.confirm(ctx); err != nil {
		return err
	}
	after, err := v.observe(ctx)
	if err != nil {
		return err
	}
	if v.result.Epoch, v.result.Phase = after.snap.Epoch, after.snap.Phase; w.snap.Epoch != after.snap.Epoch {
		v.warn("the ring has changed meanwhile, from epoch %d to %d: what was read before by the earlier one may have to be read again", w.snap.Epoch, after.snap.Epoch)
	}
	return nil
}

// canCompare says whether envelopes can be compared, and warns where they cannot. Where nobody has ever asked for them there
// is nothing to compare.
func (v *verifier) canCompare(w *world) bool {
	if len(w.snap.Table.Cells()) < 2 {
		v.warn("the ring has one cell: nothing can be protected")
		return false
	}
	if !w.backup.on {
		v.warn("no backup daemon has ever worked: nothing is protected, and envelopes were not compared")
		return false
	}
	if !w.backup.working {
		v.warn("no backup daemon works: envelopes fall behind with every write")
	}
	for _, name := range w.backup.unreadable {
		v.warn("config map %s in the router control plane cannot be read: what the backup of that cell cannot have is not known", name)
		v.result.Uncompared = true
	}
	for _, name := range w.snap.Table.Cells() {
		if w.readable[name] && w.catchingUp(name) {
			v.warn("the backup is catching up with epoch %d in cell %s: envelopes were not compared", w.snap.Epoch, name)
			v.result.Uncompared = true
			return false
		}
	}
	return true
}

func (v *verifier) warn(format string, args ...any) {
	v.result.Warnings = append(v.result.Warnings, fmt.Sprintf(format, args...))
}

// tellEvery is the time between two reports of progress.
const tellEvery = 200 * time.Millisecond

func (v *verifier) tell(doing string) {
	if now := time.Now(); now.Sub(v.told) >= tellEvery {
		v.told = now
		v.options.Progress(Progress{Doing: doing, Objects: v.result.Objects, Envelopes: v.result.Envelopes})
	}
}

// finish puts the result in order.
func (v *verifier) finish() *Result {
	r := &v.result
	r.MostHeld, r.Cells = v.mostHeld, r.Cells[:0]
	for _, name := range slices.Sorted(maps.Keys(v.states)) {
		r.Cells = append(r.Cells, v.states[name])
	}
	classes := Classes()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(classes, a.Class), slices.Index(classes, b.Class)), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Cell, b.Cell))
	})
	return r
}

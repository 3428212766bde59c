package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// askTimeout is for one question to a router, or whether a cell answers.
	askTimeout = 3 * time.Second
	// askAgainTimeout is for a cell that has just let askTimeout pass.
	askAgainTimeout = time.Second
	// listTimeout is for one page of envelopes.
	listTimeout = 15 * time.Second
	pageSize    = 1000
	// maxAnswer bounds what is read of a router: a ledger of 100,000 entries takes 30 MB.
	maxAnswer = 256 << 20
)

// Read collects the facts about a cell. Whatever does not answer in time is in them with its error; only the RCP has to
// answer.
func Read(ctx context.Context, rcp *rest.Config, cell string) (*Facts, error) {
	c, err := connect(rcp)
	if err != nil {
		return nil, err
	}
	return c.facts(ctx, cell, true)
}

// facts are those that Read collects. Whether the cell answers is left out where nobody asks it. told is what routers have said for
// an earlier report.
func (c *connection) facts(ctx context.Context, cell string, ask bool, told ...Witness) (*Facts, error) {
	ring, err := c.readRing(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		return nil, fmt.Errorf("the ring makes no sense: %w", err)
	}
	access, err := federation.Cells(ctx, c.rcp)
	if err != nil {
		return nil, err
	}
	registered, err := routers.List(ctx, c.kube)
	if err != nil {
		return nil, err
	}
	f := &Facts{Cell: cell, Ring: ring, Cells: map[string]*v1alpha1.Cell{}, Survivors: survivors(ring, cell)}
	for name, a := range access {
		f.Cells[name] = &a.Cell
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	if ask {
		asking.Go(func() { f.Answers = answers(ctx, access, cell) == nil })
	}
	// First the routers, then the mark, then the copies: whatever a router has forgotten by then that mark has passed, so
	// that it names the object, or there is a copy by the time at which copies are listed. The other way round a mark that
	// came in between would have had routers forget what nobody has been told of.
	f.Witnesses = askRouters(ctx, registered, cell)
	f.Gone = gone(told, f.Witnesses)
	complete, err := c.mark(ctx, f, snap.ControlPlanes[cell])
	if err != nil {
		return nil, err
	}
	if err := c.departures(ctx, f, complete); err != nil {
		return nil, err
	}
	ways := newWays(access)
	for i := range f.Survivors {
		asking.Go(func() { f.Survivors[i].list(ctx, ways, cell, snap, &c.opened) })
	}
	asking.Wait()
	if f.Moved, err = moved(ctx, f, ways, snap); err != nil {
		return nil, err
	}
	f.Now, f.RCPTime = c.now(), c.clock.Now().RCP
	return f, ctx.Err()
}

// survivors are the cells that copies may be in.
func survivors(ring *v1alpha1.Ring, cell string) []Survivor {
	var out []Survivor
	for _, name := range cellsOf(&ring.Status) {
		if name != cell && !slices.Contains(ring.Status.Unavailable, name) {
			out = append(out, Survivor{Cell: name})
		}
	}
	return out
}

// cellsOf are the cells of the current and the target ring, by name.
func cellsOf(s *v1alpha1.RingStatus) []string {
	var out []string
	for _, layout := range []*v1alpha1.RingLayout{s.Current, s.Target} {
		if layout == nil {
			continue
		}
		for _, m := range layout.Members {
			out = append(out, m.Cell)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// answers says why a cell does not.
func answers(ctx context.Context, access map[string]federation.Access, cell string) error {
	config, err := configOf(access, cell)
	if err != nil {
		return err
	}
	_, err = federation.Probe(ctx, within(config, askTimeout))
	return err
}

func configOf(access map[string]federation.Access, cell string) (*rest.Config, error) {
	a, exists := access[cell]
	if !exists {
		return nil, fmt.Errorf("there is no Cell %s", cell)
	}
	return a.Config, a.Err
}

// list reads the copies of a cell's objects, and what was handed to it.
func (s *Survivor) list(ctx context.Context, ways *ways, cell string, snap *routing.Snapshot, read *opened) {
	config, err := configOf(ways.access, s.Cell)
	if err != nil {
		s.Err = err
		return
	}
	if s.Copies, s.Err = listCopies(ctx, config, cell); s.Err == nil {
		s.Err = read.open(ctx, config, cell, s.Copies)
	}
	if s.Err == nil {
		s.Handed, s.Err = handedTo(ctx, ways, s.Cell, cell, snap)
	}
	if s.Err != nil {
		s.Copies = nil // what was read of them in part is not to be relied on
	}
}

// listCopies reads, page by page, the metadata of the envelopes that a cell has of another one's objects.
func listCopies(ctx context.Context, config *rest.Config, source string) ([]Copy, error) {
	config = metadata.ConfigFor(config)
	config.QPS, config.Burst, config.Timeout = -1, -1, listTimeout
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	var out []Copy
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + source, Limit: pageSize}
	for {
		page, err := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(v1alpha1.Namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list envelopes: %w", err)
		}
		for i := range page.Items {
			out = append(out, copyOf(&page.Items[i]))
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return out, nil
		}
	}
}

// mark reads how far the backup of the cell has come, and what it cannot have; nothing where it never said so. The epoch is
// that for which it was complete last. What is said of another control plane, which had the cell's name before, is not of
// this cell; where either does not say which one it is, it is taken for the same.
func (c *connection) mark(ctx context.Context, f *Facts, controlPlane string) (epoch int64, err error) {
	list, err := c.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks})
	if err != nil {
		return 0, fmt.Errorf("read how far the backup has come: %w", err)
	}
	for i := range list.Items {
		mark, err := ledger.ParseMark([]byte(list.Items[i].Data[v1alpha1.MarksKey]))
		if err != nil || mark.Cell != f.Cell || mark.ControlPlane != controlPlane && mark.ControlPlane != "" && controlPlane != "" {
			continue
		}
		var said beside
		if err := json.Unmarshal([]byte(list.Items[i].Data[v1alpha1.MarksKey]), &said); err != nil {
			return 0, fmt.Errorf("decode how far the backup of cell %s has come: %w", f.Cell, err)
		}
		if text := list.Items[i].Data[v1alpha1.UnprotectedKey]; text != "" {
			if err := json.Unmarshal([]byte(text), &f.Unprotected); err != nil {
				return 0, fmt.Errorf("decode what the backup of cell %s cannot have: %w", f.Cell, err)
			}
		}
		f.Mark, f.MarkStored = &mark, lease.StoredAt(list.Items[i].ManagedFields, v1alpha1.MarksKey)
		f.Unnamed, f.Envelopes, f.Pending = said.Unnamed, said.Envelopes, said.pending()
		return said.Epoch, nil
	}
	return 0, nil
}

// askRouters asks all of them at once what they know of the cell. There is a Witness for each.
func askRouters(ctx context.Context, all []routers.Router, cell string) []Witness {
	out := make([]Witness, len(all))
	var asking sync.WaitGroup
	for i, r := range all {
		asking.Go(func() { out[i] = askRouter(ctx, r, cell) })
	}
	asking.Wait()
	return out
}

// askRouter asks what a router knows of the cell.
func askRouter(ctx context.Context, r routers.Router, cell string) Witness {
	w := Witness{Router: r}
	if r.AdminURL == "" {
		w.Err = errors.New("it has no admin port, or is too old to say where")
		return w
	}
	var views router.Views
	if w.Err = get(ctx, r.AdminURL+"/cells", &views); w.Err != nil || w.another(views.Router) {
		return w
	}
	var told ledger.Report
	if w.Err = get(ctx, r.AdminURL+"/ledger?cell="+url.QueryEscape(cell), &told); w.Err != nil || w.another(told.Router) {
		return w
	}
	w.Ledger = told
	for _, v := range views.Cells {
		if v.Cell == cell {
			w.View = v
		}
	}
	return w
}

// get reads JSON from an admin port, which needs no credentials.
func get(ctx context.Context, from string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", from, err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // not by a proxy, and asked once
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: %s", from, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("ask %s: %w", from, err)
	}
	return nil
}

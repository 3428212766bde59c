package promotion

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// tries bounds how often an envelope is looked at again because somebody else changed it.
const tries = 8

// Promoter promotes envelopes. It keeps nothing between calls and may be used by many goroutines at once.
type Promoter struct {
	// Cells by name: those of the ring.
	Cells map[string]*Cell
	// Snapshot of the ring. It says which cells are promoted from, and where their objects belong now.
	Snapshot *routing.Snapshot
	// Final says that cells have refused for good what they refuse, so that the older of two envelopes of an object takes the
	// place of a newer one which [Result.Doubtful] is about. That one is deleted: nobody says so but the run of a failover, once
	// it has given cells the time to learn what they lack. Everybody else has requests wait for that, as for what has no twin.
	Final bool
	// Step is told of each step, in the goroutine that promotes; nil for nobody.
	Step func(Step)
	// Room is asked where a cell has refused an object because of a quota; nil where nobody can make any. See [migration.Mover].
	Room func(ctx context.Context, cell, namespace string, refusal error) bool
}

// Promote makes the envelope of that name in a cell the object again, from whatever state earlier calls have left it in. Of a
// key that moves that may become of the envelope in the other cell, where this one has to stay.
func (p *Promoter) Promote(ctx context.Context, cell, name string) Result {
	return p.either(ctx, cell, name, nil)
}

// PromoteSecret does so for an envelope that was read already.
func (p *Promoter) PromoteSecret(ctx context.Context, cell string, secret *corev1.Secret) Result {
	return p.either(ctx, cell, secret.Name, secret)
}

// either promotes an envelope or, where that has to stay, its twin.
func (p *Promoter) either(ctx context.Context, cell, name string, secret *corev1.Secret) Result {
	result := p.promote(ctx, cell, name, secret, nil)
	if !result.unfit() || result.twin == "" {
		return result
	}
	switch of := p.promote(ctx, result.twin, name, nil, nil); {
	case of.Outcome == Promoted, of.Retryable():
		return of
	case of.Done():
		return p.promote(ctx, cell, name, nil, nil) // with its twin it may be gone
	default:
		result.yields = of.yields
	}
	return result
}

// promote is told which envelopes wait for this one, from the first on.
func (p *Promoter) promote(ctx context.Context, cell, name string, secret *corev1.Secret, waiting []string) Result {
	none := Result{Outcome: None, Cell: cell, Envelope: name}
	c := p.Cells[cell]
	if c == nil {
		return none.with(Unavailable, fmt.Sprintf("cell %s is not connected", cell), nil)
	}
	if p.Snapshot.Withheld[cell] {
		return none.with(Unavailable, fmt.Sprintf("the copies in cell %s are still to be compared with what was deleted", cell), nil)
	}
	for range tries {
		if secret == nil {
			var err error
			secret, err = c.secrets.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return none
			}
			if err != nil {
				return none.with(Unavailable, fmt.Sprintf("read the envelope: %v", err), err)
			}
		}
		a, result := p.begin(c, secret, waiting)
		if a == nil {
			return result
		}
		result, again := a.run(ctx)
		if !again {
			return result
		}
		secret = nil
	}
	return none.with(Unavailable, fmt.Sprintf("it was changed %d times", tries), nil)
}

func (r Result) with(outcome Outcome, message string, err error) Result {
	r.Outcome, r.Message, r.Err = outcome, message, err
	return r
}

// begin opens an envelope. There is no attempt where that decides already.
func (p *Promoter) begin(c *Cell, secret *corev1.Secret, waiting []string) (*attempt, Result) {
	result := Result{Cell: c.Name, Envelope: secret.Name}
	header, err := envelope.HeaderOf(secret)
	if err != nil {
		return nil, result.with(Corrupt, err.Error(), err)
	}
	result.Object = header.String()
	if place, _ := p.Snapshot.Table.LookupKey(header.Unit); place.Moves() {
		if result.twin = place.Old(); result.twin == c.Name {
			result.twin = place.New()
		}
	}
	if !p.belongs(c.Name, &header) {
		return nil, result.with(Elsewhere, fmt.Sprintf("it is a copy from cell %s for cell %s", header.SourceCell, header.BackupCell), nil)
	}
	opened, err := envelope.Open(secret)
	if err != nil {
		return nil, result.with(Corrupt, err.Error(), err)
	}
	resource, ok := c.Served(header.Group, header.Version, header.Kind)
	if !ok {
		result.lacks = true
		return nil, result.with(NoKind, fmt.Sprintf("cell %s does not serve %s", c.Name, header.GroupVersionResource()), nil)
	}
	a := &attempt{
		Promoter: p, cell: c, secret: secret, version: secret.ResourceVersion, envelope: opened, waiting: waiting, result: result,
		original: migration.Original{Cell: header.SourceCell, Resource: resource, Body: opened.Object},
	}
	if err := a.read(); err != nil {
		return nil, result.with(Corrupt, err.Error(), err)
	}
	return a, result
}

// belongs says whether an envelope in a cell is to be promoted there.
func (p *Promoter) belongs(cell string, h *envelope.Header) bool {
	place, placed := p.Snapshot.Table.LookupKey(h.Unit)
	return h.BackupCell == cell && p.Snapshot.Promoting[h.SourceCell] && placed && (place.Old() == cell || place.New() == cell)
}

func (p *Promoter) mover(c *Cell) *migration.Mover {
	return &migration.Mover{
		Cells: map[string]*migration.Cell{c.Name: c.Cell}, Epoch: p.Snapshot.Epoch, Room: p.Room,
		Step: func(s migration.Step) { p.report(StepName(s.Name), c, s.Object.String()) },
	}
}

func (p *Promoter) report(name StepName, c *Cell, object string) {
	if p.Step != nil {
		p.Step(Step{Name: name, Cell: c.Name, Object: object})
	}
}

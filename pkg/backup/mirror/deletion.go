package mirror

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// permitFor is how long one look at the Ring is good for.
const permitFor = 200 * time.Millisecond

// permit is the newest Ring that was read for deletions.
type permit struct {
	mu   sync.Mutex // guards what follows, and is held while the Ring is read
	read time.Time
	ring *v1alpha1.Ring
}

// mayDelete says whether envelopes of a cell may be deleted by the Ring as it is now, where that was judged by it as it was
// at an epoch. What is known of the Ring may be late: an envelope that waits for its promotion cannot be brought back, and one
// that is at home by a newer ring is the only one.
func (m *Mirror) mayDelete(ctx context.Context, source string, epoch int64) error {
	m.permit.mu.Lock()
	defer m.permit.mu.Unlock()
	if now := m.config.Now(); m.permit.ring == nil || now.Sub(m.permit.read) > permitFor || m.permit.ring.Status.Epoch < epoch {
		ring, err := m.config.Ring(ctx)
		if err != nil {
			return fmt.Errorf("nothing is deleted while the ring cannot be read: %w", err)
		}
		m.permit.ring, m.permit.read = ring, now
	}
	status := &m.permit.ring.Status
	if slices.Contains(status.Unavailable, source) || slices.Contains(status.Promoting, source) {
		return fmt.Errorf("cell %s was failed over: its envelopes stay", source)
	}
	if status.Epoch != epoch {
		return fmt.Errorf("the ring is at epoch %d, and what is known of it at %d: %w", status.Epoch, epoch, errLater)
	}
	return nil
}

// confirmGone asks a cell whether it has the object of an envelope that is to be deleted. A cell of the ring that is the
// only one to have had it has told so itself.
func (m *Mirror) confirmGone(ctx context.Context, it *item, e *entry, name string) error {
	c, resource, told := m.witness(it, e, name)
	if told {
		return nil
	}
	if c == nil {
		return fmt.Errorf("cell %s, which may have the object, is not connected", name)
	}
	objects := c.meta.Resource(resource).Namespace(it.id.namespace)
	found, err := objects.Get(ctx, it.id.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("ask cell %s for the object: %w", name, err)
	case found.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated):
		return nil
	}
	return fmt.Errorf("cell %s has the object: %w", name, errLater)
}

// witness is the cell to ask. told says that it need not be asked: the unit is its alone, and its watch has told that
// the object is gone since the envelope was made.
func (m *Mirror) witness(it *item, e *entry, name string) (c *cell, resource schema.GroupVersionResource, told bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c = m.cells[name]
	if c == nil {
		return nil, resource, false
	}
	s := c.streams[streamKey{it.id.group, it.id.resource}]
	if s == nil {
		// The cell is not in the ring any more. Others serve the resource in the same version, or the answer is an error.
		for _, other := range m.cells {
			if s = other.streams[streamKey{it.id.group, it.id.resource}]; s != nil {
				return c, s.resource, false
			}
		}
		return nil, resource, false
	}
	place, placed := m.snapshot().Table.LookupKey(e.unit)
	alone := placed && !place.Moves() && place.Old() == name && e.source == name
	r := it.records.in(name)
	gone := r == nil && s.listed && s.progress.position >= e.version || r != nil && r.gone && r.version >= e.version
	return c, s.resource, alone && gone && len(it.records) <= 1
}

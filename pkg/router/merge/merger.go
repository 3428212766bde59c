// Package merge makes one list of the lists of several control planes.
//
// The result is in the order of an apiserver's own list, that of the keys in etcd, and holds an object only from the
// control plane in which it counts. Objects pass as the bytes that they came in, unless the list is to be YAML: a [Merger]
// holds one item of each part, [Ahead] some batches of them, an encoder what it cannot write yet, in a file where that is
// much.
//
// A [Token] says where the next page of a list begins, in all control planes at once. It is the whole state of a
// list that is continued, so that any router can go on with it.
//
// The package knows nothing of HTTP or of placement. A list is as complete as its parts: the caller must not show
// what it has after an error.
package merge

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// Part is the list of one control plane, all pages of it, in the order of its keys.
type Part interface {
	// Next returns the next item, which is valid until the next call, and io.EOF behind the last.
	Next() (wire.Item, error)
	// List is as much as is known of the list by now.
	List() wire.ListMeta
}

// PartError is a part that failed.
type PartError struct {
	// Part is its index.
	Part int
	Err  error
}

func (e *PartError) Error() string { return fmt.Sprintf("part %d: %v", e.Part, e.Err) }
func (e *PartError) Unwrap() error { return e.Err }

// Kind is what an item is to the list.
type Kind int

const (
	// Hidden items do not count in the part that they came from.
	Hidden Kind = iota
	// Shown items do, whatever the other parts have.
	Shown
	// Contends is an item that may be in another part as well, since the parts are not from the same moment: of
	// those with one key the list has the one with the highest rank.
	Contends
	// Moved says that the item is in another part by now. It is fetched from there, where no other part has it yet.
	Moved
	// Arriving is the item where another part says that it has moved, and else hidden. It spares a fetch of what may have
	// changed since the part was read, which a watch from there would tell of once more.
	Arriving
)

// Verdict is what an item is to the list, and its rank where it contends.
type Verdict struct {
	Kind Kind
	Rank int64
}

// Rules decide what becomes of items.
type Rules struct {
	// Judge says what an item of a part is to the list.
	Judge func(part int, object wire.Meta) Verdict
	// Fetch returns the item that a moved one of that part has become, and its part; false where it exists no more.
	// It may be nil where nothing moves.
	Fetch func(part int, moved wire.Meta) (int, wire.Item, bool, error)
}

// Merger gives out the visible items of all parts in the order of their keys.
type Merger struct {
	parts []Part
	rules Rules
	// keyOf is what items are ordered by.
	keyOf func(wire.Meta) string
	heads []head
	// taken are the parts whose heads are replaced at the next call.
	taken []int
}

// head is the next item of a part that is not hidden.
type head struct {
	item    wire.Item
	key     string
	verdict Verdict
	done    bool
}

// New merges parts. namespaced is true for a list within one namespace.
func New(parts []Part, namespaced bool, rules Rules) *Merger {
	m := &Merger{parts: parts, rules: rules, heads: make([]head, len(parts))}
	m.keyOf = func(o wire.Meta) string { return Key(o, namespaced) }
	return m
}

// Key is the end of an object's key in etcd, by which lists are ordered and continued: in a list over all namespaces
// "a-b/x" comes before "a/x".
func Key(object wire.Meta, namespaced bool) string {
	if namespaced || object.Namespace == "" {
		return object.Name
	}
	return object.Namespace + "/" + object.Name
}

// Begin reads the first item of all parts at once. It returns the errors of the parts by index, nil where there is
// none; after an error the Merger is of no use.
func (m *Merger) Begin() []error {
	failures := make([]error, len(m.parts))
	var begun sync.WaitGroup
	for i := range m.parts {
		begun.Go(func() { failures[i] = m.advance(i) })
	}
	begun.Wait()
	return failures
}

// Next returns the next item, its part and its key. The item is valid until the next call. At the end it returns
// io.EOF, and a *PartError where a part fails.
func (m *Merger) Next() (part int, key string, item wire.Item, err error) {
	for {
		if err := m.refill(); err != nil {
			return 0, "", wire.Item{}, err
		}
		first := m.first()
		if first < 0 {
			return 0, "", wire.Item{}, io.EOF
		}
		h := &m.heads[first]
		if h.verdict.Kind == Shown {
			m.taken = append(m.taken, first)
			return first, h.key, h.item, nil
		}
		part, item, there, err := m.settle(first)
		if err != nil {
			return 0, "", wire.Item{}, err
		}
		if there {
			return part, h.key, item, nil
		}
	}
}

// first is the part whose head has the lowest key, -1 at the end.
func (m *Merger) first() int {
	first := -1
	for i := range m.heads {
		if h := &m.heads[i]; !h.done && (first < 0 || h.key < m.heads[first].key) {
			first = i
		}
	}
	return first
}

// settle decides between the heads that have the key of the first one, those that are shown in any case aside.
func (m *Merger) settle(first int) (part int, item wire.Item, there bool, err error) {
	best, moved, arriving := -1, -1, -1
	for i := range m.heads {
		h := &m.heads[i]
		if h.done || h.key != m.heads[first].key || h.verdict.Kind == Shown {
			continue
		}
		m.taken = append(m.taken, i)
		switch {
		case h.verdict.Kind == Moved:
			moved = i
		case h.verdict.Kind == Arriving:
			arriving = i
		case best < 0 || h.verdict.Rank > m.heads[best].verdict.Rank:
			best = i
		}
	}
	switch {
	case best >= 0:
		return best, m.heads[best].item, true, nil
	case moved < 0:
		return 0, wire.Item{}, false, nil
	case arriving >= 0:
		return arriving, m.heads[arriving].item, true, nil
	}
	return m.rules.Fetch(moved, m.heads[moved].item.Meta)
}

// List is as much as is known of the list of a part.
func (m *Merger) List(part int) wire.ListMeta { return m.parts[part].List() }

// More says whether Next may have another item. The one that was given out last is not valid any more.
func (m *Merger) More() (bool, error) {
	if err := m.refill(); err != nil {
		return false, err
	}
	for i := range m.heads {
		if !m.heads[i].done {
			return true, nil
		}
	}
	return false, nil
}

// Waiting is how many items have been read and not given out. It is known after More.
func (m *Merger) Waiting() int64 {
	var n int64
	for i := range m.heads {
		if !m.heads[i].done {
			n++
		}
	}
	return n
}

// refill replaces the items that were given out last.
func (m *Merger) refill() error {
	for len(m.taken) > 0 {
		part := m.taken[0]
		m.taken = m.taken[1:]
		if err := m.advance(part); err != nil {
			return &PartError{Part: part, Err: err}
		}
	}
	m.taken = m.taken[:0]
	return nil
}

// advance reads a part to its next item that is not hidden.
func (m *Merger) advance(part int) error {
	h := &m.heads[part]
	for {
		item, err := m.parts[part].Next()
		if err == io.EOF { //nolint:errorlint // an error that wraps it is a connection that broke off
			*h = head{done: true}
			return nil
		}
		if err != nil {
			return err
		}
		key := m.keyOf(item.Meta)
		if key < h.key {
			return errors.New("its list is not in the order of its keys")
		}
		h.key = key
		if verdict := m.rules.Judge(part, item.Meta); verdict.Kind != Hidden {
			h.item, h.verdict = item, verdict
			return nil
		}
	}
}

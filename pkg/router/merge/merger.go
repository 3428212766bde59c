// Package merge makes one list of the lists of several control planes.
//
// The result is in the order of an apiserver's own list, that of the keys in etcd, and holds an object only from the
// control plane in which it counts. Objects pass as the bytes that they came in: a [Merger] holds one item of each part,
// [Ahead] some batches of them, an encoder holds what it cannot write yet, in a file where that is much.
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

// Merger gives out the visible items of all parts in the order of their keys.
type Merger struct {
	parts []Part
	// visible says whether an item counts in the part that it came from.
	visible func(part int, object wire.Meta) bool
	// keyOf is what items are ordered by.
	keyOf func(wire.Meta) string
	heads []head
	// taken is the part whose head was given out last and is replaced at the next call; -1 for none.
	taken int
}

// head is the next visible item of a part.
type head struct {
	item wire.Item
	key  string
	done bool
}

// New merges parts. namespaced is true for a list within one namespace.
func New(parts []Part, namespaced bool, visible func(part int, object wire.Meta) bool) *Merger {
	m := &Merger{parts: parts, visible: visible, heads: make([]head, len(parts)), taken: -1}
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
	if err := m.refill(); err != nil {
		return 0, "", wire.Item{}, err
	}
	first := -1
	for i := range m.heads {
		if h := &m.heads[i]; !h.done && (first < 0 || h.key < m.heads[first].key) {
			first = i
		}
	}
	if first < 0 {
		return 0, "", wire.Item{}, io.EOF
	}
	m.taken = first
	return first, m.heads[first].key, m.heads[first].item, nil
}

// List is as much as is known of the list of a part.
func (m *Merger) List(part int) wire.ListMeta { return m.parts[part].List() }

// More says whether Next has another item. The one that was given out last is not valid any more.
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

// refill replaces the item that was given out last.
func (m *Merger) refill() error {
	if m.taken < 0 {
		return nil
	}
	part := m.taken
	m.taken = -1
	if err := m.advance(part); err != nil {
		return &PartError{Part: part, Err: err}
	}
	return nil
}

// advance reads a part to its next visible item.
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
		if m.visible(part, item.Meta) {
			h.item = item
			return nil
		}
	}
}

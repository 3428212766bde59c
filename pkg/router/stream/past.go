package stream

import (
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// Past is what a stream finds out about the time before it began. A position has a place for each source, and those are
// not of one moment: the client may know what became of an object where it moved to, from a list or from another stream,
// while the source that it has left begins before the move. Nothing is asked about events that were written later.
//
// After an error the stream ends with 410. The methods are called by one goroutine.
type Past interface {
	// Behind says whether an event of a source may have been written before the stream began.
	Behind(source string, version int64) bool
	// Before says with which rank an object was in another source, where the stream begins there; 0 where it did not
	// count. It is gone where the source has it no more and none of the others had it.
	Before(source string, object wire.Meta) (rank int64, gone bool, err error)
	// Lost says whether an object that has moved out of a source is nowhere now, though the client was told that it is in
	// the source: by the stream, or before.
	Lost(source string, object wire.Meta, told bool) (bool, error)
}

// recall finds out, for an event from before the stream began, what the client knows of the object from elsewhere: the
// first event about it that a source has. Where the object has moved away, and was deleted before the others begin,
// nobody would tell of its end: then the item becomes the stream's last one, as where that cannot be known.
func (m *merger) recall(i *item) {
	if m.Past == nil || i.recalled || i.initial || i.from.left || !i.isObject() || !m.Past.Behind(i.from.Name, i.version) {
		return
	}
	i.recalled = true
	kind, _ := m.Judge(i.from.Name, i.object)
	_, arrived := m.moves.arrived[nameOf(i.object)]
	key := i.from.Name + "/" + nameOf(i.object)
	gone, told := m.moves.recalled[key]
	var err error
	switch {
	case arrived, kind != Leaving && kind != Arrived && (kind != Moved || i.kind == watch.Deleted):
		return
	case !told:
		gone, err = m.before(key, i)
	}
	lost := false
	if kind == Moved && err == nil {
		if gone {
			lost, err = m.Past.Lost(i.from.Name, i.object, told)
		}
		m.moves.recalled[key] = false // tombstones may change as well
	}
	if lost || err != nil {
		i.err = ErrExpired
	}
}

// before takes down what was before the stream began.
func (m *merger) before(key string, i *item) (gone bool, err error) {
	rank, gone, err := m.Past.Before(i.from.Name, i.object)
	if err != nil {
		return false, err
	}
	m.moves.recall(key, i.object, rank, gone)
	return gone, nil
}

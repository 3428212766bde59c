package merge

import (
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// batchSize is how much of a part is handed over at once, in bytes: enough that wakeups cost little.
	batchSize = 128 << 10
	// batches is how many of them a part has: one is filled, one waits, one is given out.
	batches = 3
)

// Ahead is a part that is read in a goroutine of its own, a few batches ahead of who asks for its items. So all parts
// of a list are read and rewritten at the same time, and none of their control planes waits for another one.
//
// The goroutine alone uses the part until Next has returned an error or Stop has returned. It ends at the end of the
// part or by Stop.
type Ahead struct {
	part       Part
	free, full chan *batch
	stop, done chan struct{}
	// current is the batch that is given out, and next the index in it of what comes next.
	current *batch
	next    int
}

// batch is some items of a part, one after the other in data.
type batch struct {
	data  []byte
	items []batchItem
	// list is what was known of the list at the first of them.
	list wire.ListMeta
	// err is what follows them, nil where that is another batch.
	err error
}

type batchItem struct {
	meta wire.Meta
	end  int
}

// NewAhead begins to read part. The caller stops it, in any case.
func NewAhead(part Part) *Ahead {
	a := &Ahead{
		part: part,
		free: make(chan *batch, batches), full: make(chan *batch, batches),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for range batches {
		a.free <- &batch{}
	}
	go a.run()
	return a
}

func (a *Ahead) run() {
	defer close(a.done)
	for {
		select {
		case <-a.stop:
			return
		case b := <-a.free:
			b.fill(a.part)
			a.full <- b // which has room for all there are
			if b.err != nil {
				return
			}
		}
	}
}

func (b *batch) fill(part Part) {
	b.data, b.items = b.data[:0], b.items[:0]
	for len(b.data) < batchSize {
		item, err := part.Next()
		if len(b.items) == 0 {
			b.list = part.List()
		}
		if err != nil {
			b.err = err
			return
		}
		b.data = append(b.data, item.Raw...)
		b.items = append(b.items, batchItem{meta: item.Meta, end: len(b.data)})
	}
}

// Next returns the next item, which is valid until the next call. It must not be called after Stop.
func (a *Ahead) Next() (wire.Item, error) {
	for {
		if b := a.current; b != nil {
			if a.next < len(b.items) {
				from := 0
				if a.next > 0 {
					from = b.items[a.next-1].end
				}
				item := b.items[a.next]
				a.next++
				return wire.Item{Meta: item.meta, Raw: b.data[from:item.end]}, nil
			}
			if b.err != nil {
				return wire.Item{}, b.err
			}
			a.free <- b
		}
		a.current, a.next = <-a.full, 0
	}
}

// List is what is known of the list at the item that Next returned.
func (a *Ahead) List() wire.ListMeta {
	if a.current == nil {
		return wire.ListMeta{}
	}
	return a.current.list
}

// Stop ends the reading. It waits for a read in progress, which the caller therefore has to cancel before.
func (a *Ahead) Stop() {
	close(a.stop)
	<-a.done
}

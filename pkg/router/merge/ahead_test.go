package merge_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// countedPart has so many items, all of them in the same memory, and then fails.
type countedPart struct {
	items, given int
	raw          []byte
	err          error
}

func (c *countedPart) Next() (wire.Item, error) {
	if c.given == c.items {
		return wire.Item{}, c.err
	}
	c.given++
	c.raw = fmt.Appendf(c.raw[:0], "%01000d", c.given)
	return wire.Item{Meta: wire.Meta{Name: fmt.Sprint(c.given)}, Raw: c.raw}, nil
}

func (c *countedPart) List() wire.ListMeta {
	return wire.ListMeta{ResourceVersion: fmt.Sprint(c.given)}
}

// TestReadingAheadChangesNothing compares what is read ahead with what the part has: every item, its bytes, the list
// as it was known by then, and the error behind it, each time that one asks.
func TestReadingAheadChangesNothing(t *testing.T) {
	broken := errors.New("broken off")
	for _, items := range []int{0, 1, 1000} {
		for _, end := range []error{io.EOF, broken} {
			ahead := merge.NewAhead(&countedPart{items: items, err: end})
			for i := 1; i <= items; i++ {
				item, err := ahead.Next()
				if want := fmt.Sprintf("%01000d", i); err != nil || item.Meta.Name != fmt.Sprint(i) || string(item.Raw) != want {
					t.Fatalf("item %d of %d is %q, %v", i, items, item.Meta.Name, err)
				}
				if i == 1 && ahead.List().ResourceVersion != "1" {
					t.Errorf("at the first item the list is %+v", ahead.List())
				}
			}
			for range 2 {
				if _, err := ahead.Next(); err != end { //nolint:errorlint // the very same
					t.Errorf("behind %d items: %v; want %v", items, err, end)
				}
			}
			ahead.Stop()
		}
	}
}

// TestReadingAheadEndsAtItsBound has a part that nobody takes from, and one that is stopped in the middle.
func TestReadingAheadEndsAtItsBound(t *testing.T) {
	for _, taken := range []int{0, 500} {
		part := &countedPart{items: 1 << 30, err: io.EOF}
		ahead := merge.NewAhead(part)
		for range taken {
			if _, err := ahead.Next(); err != nil {
				t.Fatal(err)
			}
		}
		ahead.Stop()
		if part.given > taken+1000 {
			t.Errorf("%d items were read where %d were taken", part.given, taken)
		}
	}
}

package wire_test

import (
	"bytes"
	"io"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// asked notes how much each read asks for: what the reader of a stream has room for while it waits.
type asked struct {
	pieces [][]byte
	room   []int
}

func (a *asked) Read(p []byte) (int, error) {
	a.room = append(a.room, len(p))
	if len(a.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.pieces[0])
	if a.pieces[0] = a.pieces[0][n:]; len(a.pieces[0]) == 0 {
		a.pieces = a.pieces[1:]
	}
	return n, nil
}

// TestAWaitingWatchHoldsLittle reads a large event between small ones, and looks at the room that is left
// while nothing comes.
func TestAWaitingWatchHoldsLittle(t *testing.T) {
	const little, large = 4 << 10, 1 << 20
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		event := func(size int) []byte {
			return stream(t, f, []string{"ADDED"}, []runtime.Object{&configMaps(1, size).Items[0]})
		}
		in := &asked{pieces: [][]byte{event(10), event(large), event(10), event(little), event(10)}}
		reader := wire.NewFrameReader(f, in)
		var sizes []int
		for {
			event, err := reader.Next()
			if err != nil {
				break
			}
			sizes = append(sizes, len(event.Frame))
		}
		if len(sizes) != 5 || sizes[1] < large {
			t.Fatalf("format %d: events of %d bytes; want five, the second one large", f, sizes)
		}
		if first, last := in.room[0], in.room[len(in.room)-1]; first > little || last > 4*little {
			t.Errorf("format %d: room for %d bytes at first, %d at the end; want %d and at most four times that", f, first, last, little)
		}
	}
	list := &asked{pieces: [][]byte{encode(t, wire.JSON, configMaps(1, 10))}}
	if _, _, _, err := readAll(wire.JSON, list); err != nil || list.room[0] < 16*little {
		t.Errorf("a list asks for %d bytes at once, %v; want %d", list.room[0], err, 16*little)
	}
}

// TestAWatchOfMiddlingEventsKeepsItsRoom: it does not begin anew with each event.
func TestAWatchOfMiddlingEventsKeepsItsRoom(t *testing.T) {
	var in bytes.Buffer
	for range 400 {
		in.Write(stream(t, wire.JSON, []string{"ADDED"}, []runtime.Object{&configMaps(1, 8<<10).Items[0]}))
	}
	counted := &asked{pieces: [][]byte{in.Bytes()}}
	reader := wire.NewFrameReader(wire.JSON, counted)
	for {
		if _, err := reader.Next(); err != nil {
			break
		}
	}
	if want := in.Len()/(4<<10) + 10; len(counted.room) > want {
		t.Errorf("%d reads; want at most %d", len(counted.room), want)
	}
}

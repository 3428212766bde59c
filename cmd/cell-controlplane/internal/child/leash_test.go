package child

import (
	"bytes"
	"io"
	"testing"
)

func TestHold(t *testing.T) {
	leash, parent := io.Pipe()
	go io.WriteString(parent, "go\n")
	ctx, ok := Hold(t.Context(), leash)
	if !ok || ctx.Err() != nil {
		t.Fatalf("after the word: got %v, %v", ok, ctx.Err())
	}
	parent.Close()
	<-ctx.Done()
}

// A parent that dies before it is ready lets go without a word, or in the middle of one.
func TestHoldWithoutWord(t *testing.T) {
	for _, input := range []string{"", "g", "stop\n"} {
		if _, ok := Hold(t.Context(), bytes.NewBufferString(input)); ok {
			t.Errorf("input %q lets the controllers start", input)
		}
	}
}

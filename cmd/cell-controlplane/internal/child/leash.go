package child

import (
	"bufio"
	"context"
	"fmt"
	"io"
)

// Hold is the child's side: it waits for the parent's word and returns a context that ends with the
// leash. The second result is false when the parent ended before it said so. The goroutine that reads
// ends with the leash, which lasts as long as the process.
func Hold(ctx context.Context, leash io.Reader) (context.Context, bool) {
	ctx, cancel := context.WithCancel(ctx)
	lines := bufio.NewScanner(leash)
	word := make(chan bool, 1)
	go func() {
		defer cancel()
		word <- lines.Scan() && lines.Text() == goLine
		for lines.Scan() {
		}
	}()
	select {
	case ok := <-word:
		return ctx, ok
	case <-ctx.Done():
		return ctx, false
	}
}

// Announce tells the parent that the controllers run.
func Announce(stdout io.Writer) error {
	if _, err := fmt.Fprintln(stdout, readyLine); err != nil {
		return fmt.Errorf("telling the parent: %w", err)
	}
	return nil
}

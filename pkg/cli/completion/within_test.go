package completion

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

// TestNobodyWaitsForAServerThatHangs: after the TAB key 800 ms may pass, of which the programs that are started for it
// take up to 300.
func TestNobodyWaitsForAServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		hung := make(chan struct{})
		defer close(hung)
		_, ok := within(t.Context(), func(context.Context) ([]cobra.Completion, error) {
			<-hung // which does not heed its context, as a credential plugin that waits for a person
			return nil, nil
		})
		if took := time.Since(begin); ok || took > 500*time.Millisecond {
			t.Errorf("found something: %v, after %s", ok, took)
		}
	})
}

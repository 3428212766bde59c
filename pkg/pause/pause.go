// Package pause waits between two attempts, for as long as somebody still wants the second.
package pause

import (
	"context"
	"time"
)

// For returns nil after d. Where ctx ends first it returns at once why that has ended.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

package lease

import (
	"context"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// termKey is that of the term in the context of the work.
type termKey struct{}

func termOf(ctx context.Context) *term {
	t, _ := ctx.Value(termKey{}).(*term)
	return t
}

// Overdue says whether the work in ctx, which [Hold] has begun, has outlived its Lease, so that somebody else may have it.
func Overdue(ctx context.Context) bool {
	t := termOf(ctx)
	return t != nil && t.overdue(time.Now())
}

// TakenOver says whether the work in ctx has outlived its Lease, and somebody else has the Lease, or has had it since. It is
// false where that cannot be found out in a third of the Lease's duration.
func TakenOver(ctx context.Context) bool {
	t := termOf(ctx)
	if !Overdue(ctx) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.duration/3)
	defer cancel()
	taken, err := t.takenOver(ctx)
	return err == nil && taken
}

// Unguarded is ctx for what has to be done even if the Lease ends meanwhile.
func Unguarded(ctx context.Context) context.Context {
	return context.WithValue(ctx, termKey{}, (*term)(nil))
}

// Guard has no request that changes something sent once its work has outlived its Lease: it fails with [ErrLost]. A process
// that was suspended goes on where it was, and nothing else stops it between two requests. It is for
// [rest.Config.Wrap]; see [Guarded].
func Guard(next http.RoundTripper) http.RoundTripper { return guarded{next} }

// Guarded is a copy of config whose clients [Guard] guards.
func Guarded(config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.Wrap(Guard)
	return out
}

type guarded struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && Overdue(r.Context()) {
		termOf(r.Context()).end()
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper has to; nothing of it was sent
		}
		return nil, ErrLost
	}
	return g.RoundTripper.RoundTrip(r)
}

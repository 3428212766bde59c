package sandboxtest

import (
	"context"
	"errors"
	"net/http"

	"k8s.io/client-go/transport"
)

// Lifeline is a way to a server that nothing takes any more once ctx has ended, as if the process were dead. It is for
// [k8s.io/client-go/rest.Config.Wrap].
func Lifeline(ctx context.Context) transport.WrapperFunc {
	return func(next http.RoundTripper) http.RoundTripper { return lifeline{ctx, next} }
}

type lifeline struct {
	alive context.Context
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (l lifeline) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.alive.Err() != nil {
		return nil, errors.New("the process is dead")
	}
	return l.next.RoundTrip(r)
}

package authn

import (
	"context"
	"errors"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

type failureKey struct{}

// failure takes down, for one request, that nobody could be asked about its token.
type failure struct{ err error }

// WithFailure lets the filters inside find out, by [Failure], why a request was not authenticated. The
// generic server's filter tells nobody.
func WithFailure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Authorization"]) > 0 || len(r.Header["Sec-Websocket-Protocol"]) > 0 {
			r = r.WithContext(context.WithValue(r.Context(), failureKey{}, &failure{}))
		}
		next.ServeHTTP(w, r)
	})
}

// Failure returns the *UnavailableError because of which a request could not be authenticated, or nil
// where its credentials are not good, or missing.
func Failure(ctx context.Context) error {
	if f, ok := ctx.Value(failureKey{}).(*failure); ok && f.err != nil {
		return f.err
	}
	return nil
}

// noting takes such failures down.
type noting struct{ authenticator.Token }

func (n noting) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	response, ok, err := n.Token.AuthenticateToken(ctx, token)
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		if f, ok := ctx.Value(failureKey{}).(*failure); ok {
			f.err = unavailable
		}
	}
	return response, ok, err
}

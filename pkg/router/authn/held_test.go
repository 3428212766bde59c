package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

var errDown = errors.New("down")

// rcp is what the RCP says of every token.
type rcp struct {
	accepts bool
	err     error
	asked   int
}

func (r *rcp) AuthenticateToken(context.Context, string) (*authenticator.Response, bool, error) {
	r.asked++
	if r.err != nil {
		return nil, false, &UnavailableError{r.err}
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: "alice"}}, r.accepts, nil
}

func jwt(expires time.Time) string {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, expires.Unix()))
	return "e30." + claims + ".c2ln"
}

func TestATokenIsHeldWhileTheRCPCannotBeAsked(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	opaque := "opaque"
	type step struct {
		after       time.Duration
		rcp         rcp
		unreachable error
		// want is "accepted", "refused" or "unavailable".
		want  string
		asked int
	}
	up, refuses, down := rcp{accepts: true}, rcp{}, rcp{err: errDown}
	tests := map[string]struct {
		token string
		steps []step
	}{
		"never seen":              {opaque, []step{{0, down, nil, "unavailable", 1}}},
		"never seen, known down":  {opaque, []step{{0, up, errDown, "unavailable", 0}}},
		"accepted before":         {opaque, []step{{0, up, nil, "accepted", 1}, {HeldFor, down, nil, "accepted", 1}}},
		"without asking":          {opaque, []step{{0, up, nil, "accepted", 1}, {HeldFor, down, errDown, "accepted", 0}}},
		"too long ago":            {opaque, []step{{0, up, nil, "accepted", 1}, {HeldFor + 1, down, nil, "unavailable", 1}}},
		"accepted again":          {opaque, []step{{0, up, nil, "accepted", 1}, {HeldFor, up, nil, "accepted", 1}, {HeldFor, down, nil, "accepted", 1}}},
		"revoked":                 {opaque, []step{{0, up, nil, "accepted", 1}, {1, refuses, nil, "refused", 1}, {1, down, nil, "unavailable", 1}}},
		"until its expiry":        {jwt(start.Add(time.Minute)), []step{{0, up, nil, "accepted", 1}, {time.Minute, down, nil, "accepted", 1}}},
		"beyond its expiry":       {jwt(start.Add(time.Minute)), []step{{0, up, nil, "accepted", 1}, {time.Minute + 1, down, nil, "unavailable", 1}}},
		"expiry beyond the bound": {jwt(start.Add(24 * time.Hour)), []step{{0, up, nil, "accepted", 1}, {HeldFor + 1, down, nil, "unavailable", 1}}},
		"no claims":               {"a.b.c", []step{{0, up, nil, "accepted", 1}, {HeldFor, down, nil, "accepted", 1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			now := start
			var review rcp
			var unreachable error
			h := newHeld(&review, func() error { return unreachable }, func() time.Time { return now })
			for i, s := range test.steps {
				now, review, unreachable = now.Add(s.after), s.rcp, s.unreachable
				_, ok, err := h.AuthenticateToken(t.Context(), test.token)
				if got := outcome(ok, err); got != s.want || review.asked != s.asked {
					t.Errorf("step %d: %s (%v), asked %d times; want %s, %d", i, got, err, review.asked, s.want, s.asked)
				}
			}
		})
	}
}

func outcome(ok bool, err error) string {
	var unavailable *UnavailableError
	switch {
	case errors.As(err, &unavailable):
		return "unavailable"
	case err != nil:
		return err.Error()
	case ok:
		return "accepted"
	}
	return "refused"
}

// TestWhyARequestWasNotAuthenticated asks through the cache, as the filters do.
func TestWhyARequestWasNotAuthenticated(t *testing.T) {
	for want, review := range map[string]*rcp{"unavailable": {err: errDown}, "refused": {}} {
		t.Run(want, func(t *testing.T) {
			token := noting{firstOf{&rcp{}, newHeld(review, func() error { return nil }, time.Now)}}
			var got error
			WithFailure(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, ok, err := token.AuthenticateToken(r.Context(), "t")
				if ok || outcome(ok, err) != want {
					t.Errorf("%v, %v; want %s", ok, err, want)
				}
				got = Failure(r.Context())
			})).ServeHTTP(nil, withToken(t))
			if (got != nil) != (want == "unavailable") {
				t.Errorf("failure = %v of a token that was %s", got, want)
			}
		})
	}
}

func withToken(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer t")
	return r
}

package router

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// TestACertificateIsVerifiedAgainWhenItMayHaveLostItsWorth counts how often the verifier is asked.
func TestACertificateIsVerifiedAgainWhenItMayHaveLostItsWorth(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{NotAfter: start.Add(time.Hour)}
	ends := &x509.Certificate{NotAfter: start.Add(3 * time.Second)}
	bundle := []byte("one")
	tests := map[string]struct {
		leaf   *x509.Certificate
		header http.Header
		after  time.Duration
		bundle []byte
		want   int
	}{
		"at once":                  {leaf, nil, 0, bundle, 1},
		"within the time":          {leaf, nil, certificateTTL - 1, bundle, 1},
		"after the time":           {leaf, nil, certificateTTL, bundle, 2},
		"another CA":               {leaf, nil, 0, []byte("two"), 2},
		"a certificate that ends":  {ends, nil, 3 * time.Second, bundle, 2},
		"beside a token":           {leaf, http.Header{"Authorization": {"Bearer x"}}, 0, bundle, 2},
		"beside a websocket token": {leaf, http.Header{"Sec-Websocket-Protocol": {"x"}}, 0, bundle, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			asked, now, current := 0, start, bundle
			c := newCertificates(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
				asked++
				return &authenticator.Response{User: &user.DefaultInfo{Name: "alice"}}, true, nil
			}), func() []byte { return current })
			c.now = func() time.Time { return now }
			for range 2 {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{test.leaf}}
				if test.header != nil {
					r.Header = test.header
				}
				answer, ok, err := c.AuthenticateRequest(r)
				if err != nil || !ok || answer.User.GetName() != "alice" {
					t.Fatalf("answer %v, %v, %v", answer, ok, err)
				}
				now, current = now.Add(test.after), test.bundle
			}
			if asked != test.want {
				t.Errorf("the verifier was asked %d times; want %d", asked, test.want)
			}
		})
	}
}

func TestWhatIsRefusedIsNotRemembered(t *testing.T) {
	asked := 0
	c := newCertificates(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
		asked++
		return nil, false, nil
	}), func() []byte { return nil })
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
		if _, ok, _ := c.AuthenticateRequest(r); ok {
			t.Error("accepted")
		}
	}
	if asked != 2 {
		t.Errorf("the verifier was asked %d times; want 2", asked)
	}
}

package router

import (
	"crypto/x509"
	"net/http"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

const (
	// certificateTTL bounds for how long a client certificate is taken on trust once it was verified. A CA
	// that changes ends it at once.
	certificateTTL = 10 * time.Second
	// maxCertificates bounds how many are remembered.
	maxCertificates = 10000
)

// certificates remembers whom a client certificate is of. To verify one is two operations of elliptic
// curves, a quarter of what a whole request costs a router otherwise.
type certificates struct {
	next authenticator.Request
	// bundle is the CA bundle in use.
	bundle func() []byte
	now    func() time.Time

	mu    sync.RWMutex // guards what follows
	known map[*x509.Certificate]knownCertificate
}

type knownCertificate struct {
	answer *authenticator.Response
	bundle []byte
	until  time.Time
}

func newCertificates(next authenticator.Request, bundle func() []byte) *certificates {
	return &certificates{next: next, bundle: bundle, now: time.Now, known: map[*x509.Certificate]knownCertificate{}}
}

// AuthenticateRequest asks next, unless it is known what it would say. The certificate comes first there,
// too, whatever token there is beside it.
func (c *certificates) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return c.next.AuthenticateRequest(r)
	}
	leaf, bundle, now := r.TLS.PeerCertificates[0], c.bundle(), c.now()
	c.mu.RLock()
	known, ok := c.known[leaf]
	c.mu.RUnlock()
	if ok && now.Before(known.until) && sameBundle(known.bundle, bundle) {
		return known.answer, true, nil
	}
	answer, ok, err := c.next.AuthenticateRequest(r)
	if err != nil || !ok || r.Header.Get("Authorization") != "" || r.Header.Get("Sec-Websocket-Protocol") != "" {
		// Where there is a token it may be what was accepted.
		return answer, ok, err
	}
	until := now.Add(certificateTTL)
	if leaf.NotAfter.Before(until) {
		until = leaf.NotAfter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCertificates {
		clear(c.known)
	}
	c.known[leaf] = knownCertificate{answer: answer, bundle: bundle, until: until}
	return answer, true, nil
}

// sameBundle compares identities: a provider that reads its file anew keeps what has not changed.
func sameBundle(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Package pki owns the certificates and keys of one control plane.
//
// Each control plane has a CA of its own, so that a certificate of one cell opens no other. Everything
// is made on the first run and reused later; what is missing, does not fit or is about to expire is made
// again at start. The CA's key stays beside its certificate: whoever owns the directory can issue more
// client certificates. Keys are ECDSA P-256, which costs no measurable time to make.
//
// It does not promise rotation while the control plane runs. Start reading at [Ensure].
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 2 * 365 * 24 * time.Hour
	renewBefore   = 60 * 24 * time.Hour
	// clockSkew is how far a client's clock may be behind.
	clockSkew = 5 * time.Minute
)

// authority is a CA that can sign.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// ensureAuthority loads the CA, or makes one where there is none or it is about to expire.
func ensureAuthority(dir layout.Dir, name string, now time.Time) (*authority, error) {
	switch _, err := os.Stat(dir.Cert("ca")); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading CA: %w", err)
	default:
		a, err := loadAuthority(dir)
		if err != nil || now.Add(renewBefore).Before(a.cert.NotAfter) {
			return a, err
		}
	}
	// The certificate is written last and removed first: a certificate whose key does not fit then
	// always means damage, never a crash in between.
	if err := os.Remove(dir.Cert("ca")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replacing CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making CA key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name + "-ca"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making CA: %w", err)
	}
	if err := writePair(dir, "ca", der, key); err != nil {
		return nil, err
	}
	return loadAuthority(dir)
}

func loadAuthority(dir layout.Dir) (*authority, error) {
	certPEM, err := os.ReadFile(dir.Cert("ca"))
	if err != nil {
		return nil, damaged(dir, fmt.Errorf("reading CA: %w", err))
	}
	keyPEM, err := os.ReadFile(dir.Key("ca"))
	if err != nil {
		return nil, damaged(dir, fmt.Errorf("reading CA key: %w", err))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, damaged(dir, fmt.Errorf("reading CA: %w", err))
	}
	return &authority{cert: pair.Leaf, key: pair.PrivateKey.(crypto.Signer), pem: certPEM}, nil
}

func damaged(dir layout.Dir, err error) error {
	return fault.New(err, "put the CA's files back, or remove "+dir.Cert("ca")+" to have a new CA made; "+
		"clients of the old one are then refused")
}

// ensureLeaf makes the pair with this name unless a fitting one exists.
func (a *authority) ensureLeaf(dir layout.Dir, name string, template x509.Certificate, now time.Time) (Pair, error) {
	if pair, ok := a.loadLeaf(dir, name, &template, now); ok {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making key %s: %w", name, err)
	}
	template.NotBefore = now.Add(-clockSkew)
	template.NotAfter = minTime(now.Add(leafLife), a.cert.NotAfter)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := sign(&template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("making certificate %s: %w", name, err)
	}
	if err := writePair(dir, name, der, key); err != nil {
		return Pair{}, err
	}
	pair, ok := a.loadLeaf(dir, name, &template, now)
	if !ok {
		return Pair{}, fmt.Errorf("certificate %s does not fit its own request", name)
	}
	return pair, nil
}

// loadLeaf reports whether the pair on disk is what the template asks for, signed by this CA and not
// about to expire. What it cannot read counts as not fitting, since making it again repairs it.
func (a *authority) loadLeaf(dir layout.Dir, name string, want *x509.Certificate, now time.Time) (Pair, bool) {
	certPEM, certErr := os.ReadFile(dir.Cert(name))
	keyPEM, keyErr := os.ReadFile(dir.Key(name))
	if certErr != nil || keyErr != nil {
		return Pair{}, false
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return Pair{}, false
	}
	got := pair.Leaf
	fits := got.CheckSignatureFrom(a.cert) == nil &&
		now.Add(renewBefore).Before(got.NotAfter) &&
		got.Subject.String() == want.Subject.String() &&
		sameNames(got, want)
	return Pair{Cert: certPEM, Key: keyPEM}, fits
}

func sameNames(got, want *x509.Certificate) bool {
	if len(got.DNSNames) != len(want.DNSNames) || len(got.IPAddresses) != len(want.IPAddresses) {
		return false
	}
	for i, name := range want.DNSNames {
		if got.DNSNames[i] != name {
			return false
		}
	}
	for i, ip := range want.IPAddresses {
		if !got.IPAddresses[i].Equal(ip) {
			return false
		}
	}
	return true
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, parent, public, key)
}

func writePair(dir layout.Dir, name string, der []byte, key *ecdsa.PrivateKey) error {
	if err := writeKey(dir.Key(name), key); err != nil {
		return err
	}
	var cert bytes.Buffer
	if err := pem.Encode(&cert, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return fmt.Errorf("encoding certificate %s: %w", name, err)
	}
	return layout.WriteFile(dir.Cert(name), cert.Bytes(), 0o644)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// Names of the files below [layout.Dir.PKI].
const (
	APIServer         = "apiserver"
	Admin             = "admin"
	ControllerManager = "controller-manager"
	ServiceAccount    = "sa"
)

// Pair is a certificate and its key, both PEM.
type Pair struct {
	Cert, Key []byte
}

// Material is what the rest of the control plane needs to hold in memory.
type Material struct {
	CA                []byte // PEM
	Admin             Pair   // group system:masters
	ControllerManager Pair   // user system:kube-controller-manager
}

// Request says for whom certificates are made.
type Request struct {
	Name      string   // of the control plane
	Addresses []net.IP // of the apiserver, besides loopback
	Now       time.Time
}

// Ensure makes what is missing below the directory and returns what clients need.
//
// It may run any number of times and after any crash; it never replaces a CA that works, because other
// processes hold certificates of it.
func Ensure(dir layout.Dir, r Request) (*Material, error) {
	ca, err := ensureAuthority(dir, r.Name, r.Now)
	if err != nil {
		return nil, err
	}
	if _, err := ca.ensureLeaf(dir, APIServer, server(r.Addresses), r.Now); err != nil {
		return nil, err
	}
	m := &Material{CA: ca.pem}
	if m.Admin, err = ca.ensureLeaf(dir, Admin, client("cell-admin", "system:masters"), r.Now); err != nil {
		return nil, err
	}
	manager := client("system:kube-controller-manager")
	if m.ControllerManager, err = ca.ensureLeaf(dir, ControllerManager, manager, r.Now); err != nil {
		return nil, err
	}
	return m, ensureSigningKey(dir)
}

func server(addresses []net.IP) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func client(user string, groups ...string) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups}, //nolint:misspell // a name of the standard library
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// ensureSigningKey makes the key that signs service account tokens. It is never replaced, because that
// would invalidate every token.
func ensureSigningKey(dir layout.Dir) error {
	_, err := os.Stat(dir.PublicKey(ServiceAccount))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making token key: %w", err)
	}
	if err := writeKey(dir.Key(ServiceAccount), key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding token key: %w", err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return layout.WriteFile(dir.PublicKey(ServiceAccount), public, 0o644)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	return layout.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

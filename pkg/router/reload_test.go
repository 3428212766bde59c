package router_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/authn/authntest"
)

// TestFilesAreFollowedWhileARouterServes changes the serving certificate, the CA of clients and the authentication
// configuration on disk. Nobody tells the router, and a watch that was open before stays open.
func TestFilesAreFollowedWhileARouterServes(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := newBedBeside(t)
	ns := b.namespace(t, "followed")
	issuer := authntest.NewIssuer(t)
	token := issuer.Token(t, map[string]any{"aud": "router", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	authentication := filepath.Join(t.TempDir(), "authentication.yaml")
	replace(t, authentication, issuer.Configuration("router", "before:"))
	var clientCA, certFile, keyFile string
	before, _ := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) {
		c.AuthenticationConfig, clientCA = authentication, c.ClientCAFile
		pair := &c.Serving.ServerCert.CertKey
		pair.CertFile = filepath.Join(c.Serving.ServerCert.CertDirectory, "router.crt")
		pair.KeyFile = filepath.Join(c.Serving.ServerCert.CertDirectory, "router.key")
		certFile, keyFile = pair.CertFile, pair.KeyFile
	})
	open, err := kube(t, before).CoreV1().ConfigMaps(ns).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=later"})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Stop()

	cert, key, err := certutil.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, keyFile, key)
	replace(t, certFile, cert)
	after := rest.CopyConfig(before)
	after.CAData = cert
	until(t, "new clients are shown the new serving certificate", func(context.Context) bool {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		conn, err := tls.Dial("tcp", before.Host[len("https://"):], &tls.Config{RootCAs: roots})
		return err == nil && conn.Close() == nil
	})

	authority := newAuthority(t)
	bob := anonymous(after)
	bob.CertData, bob.KeyData = authority.client(t, "bob")
	replace(t, clientCA, certPEM(authority.cert.Raw))
	until(t, "a certificate of the new CA is accepted", func(ctx context.Context) bool { return nameOf(ctx, t, bob) == "bob" })
	if _, err := kube(t, after).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("a certificate of the old CA: %v; want unauthorized", err)
	}

	alice := anonymous(after)
	alice.BearerToken = token
	until(t, "the token is that of an issuer", func(ctx context.Context) bool { return nameOf(ctx, t, alice) == "before:alice" })
	replace(t, authentication, issuer.Configuration("router", "after:"))
	until(t, "the new authentication configuration counts", func(ctx context.Context) bool { return nameOf(ctx, t, alice) == "after:alice" })

	if _, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "later"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if event, ok := <-open.ResultChan(); !ok || event.Type != watch.Added {
		t.Errorf("the watch from before: %v, open %v; want the object", event.Type, ok)
	}
}

// nameOf is who a client is to the router; "" where that refuses it.
func nameOf(ctx context.Context, t *testing.T, as *rest.Config) string {
	t.Helper()
	review, err := kube(t, as).AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return review.Status.UserInfo.Username
}

// replace puts a new file in the place of an old one at once, as whoever renews certificates does.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// authority is a CA that no control plane knows.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "new"}, key)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

// client is the certificate and the key of a user, as PEM.
func (a authority) client(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = keyutil.MarshalPrivateKeyToPEM(own); err != nil {
		t.Fatal(err)
	}
	return certPEM(der), key
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: der})
}

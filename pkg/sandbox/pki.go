package sandbox

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority signs certificates for one control plane's users and servers.
type authority struct {
	// certPEM is the CA's certificate.
	certPEM []byte
	cert    *x509.Certificate
	key     crypto.Signer
}

// credentials are a certificate and its key, both PEM.
type credentials struct{ cert, key []byte }

// authority reads the control plane's CA, which exists once it has started.
func (c ControlPlane) authority() (*authority, error) {
	pem, err := os.ReadFile(c.caCert())
	if err != nil {
		return nil, fmt.Errorf("read CA of %s: %w", c.Name, err)
	}
	certs, err := cert.ParseCertsPEM(pem)
	if err != nil {
		return nil, fmt.Errorf("read CA of %s: %w", c.Name, err)
	}
	key, err := keyutil.PrivateKeyFromFile(c.caKey())
	if err != nil {
		return nil, fmt.Errorf("read key of the CA of %s: %w", c.Name, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key of the CA of %s: it cannot sign", c.Name)
	}
	return &authority{certPEM: pem, cert: certs[0], key: signer}, nil
}

// client issues a certificate for a user in a group.
func (a *authority) client(user, group string, now time.Time) (credentials, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, now)
}

// server issues a serving certificate for this machine's loopback names.
func (a *authority) server(now time.Time) (credentials, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubecell-router"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.ParseIP(Loopback), net.IPv6loopback},
	}, now)
}

// issue signs the template for as long as the CA is valid: nobody renews certificates of a sandbox.
func (a *authority) issue(template *x509.Certificate, now time.Time) (credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return credentials{}, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return credentials{}, fmt.Errorf("make serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = now.Add(-time.Hour) // clocks of containers and their hosts differ
	template.NotAfter = a.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return credentials{}, fmt.Errorf("sign certificate of %s: %w", template.Subject.CommonName, err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return credentials{}, fmt.Errorf("encode key of %s: %w", template.Subject.CommonName, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return credentials{}, fmt.Errorf("encode certificate of %s: %w", template.Subject.CommonName, err)
	}
	certPEM, err := cert.EncodeCertificates(leaf)
	if err != nil {
		return credentials{}, fmt.Errorf("encode certificate of %s: %w", template.Subject.CommonName, err)
	}
	return credentials{cert: certPEM, key: keyPEM}, nil
}

// write stores the credentials as PATH.crt and PATH.key.
func (c credentials) write(path string) error {
	return errors.Join(writeFile(path+".crt", c.cert), writeFile(path+".key", c.key))
}

package cli_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// signRequests does in the control planes of the scripts, until the end of the test, what the signer of a
// kube-controller-manager does: a CertificateSigningRequest for clients that was approved gets its certificate.
func signRequests(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var signers sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		signers.Wait()
	})
	for i, config := range planes.Configs(t) {
		kube, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		authority, err := tls.LoadX509KeyPair(planes.Authority(i))
		if err != nil {
			t.Fatal(err)
		}
		requests, err := kube.CertificatesV1().CertificateSigningRequests().Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		signers.Go(func() {
			for event := range requests.ResultChan() {
				request, ok := event.Object.(*certificatesv1.CertificateSigningRequest)
				if !ok || len(request.Status.Certificate) > 0 || !approved(request) {
					continue
				}
				if err := sign(request, authority); err != nil {
					t.Errorf("sign %s: %v", request.Name, err)
					continue
				}
				_, err := kube.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, request, metav1.UpdateOptions{})
				if err != nil && ctx.Err() == nil {
					t.Errorf("answer %s: %v", request.Name, err)
				}
			}
		})
	}
}

func approved(request *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved
	})
}

// sign fills in the certificate that was asked for.
func sign(request *certificatesv1.CertificateSigningRequest, authority tls.Certificate) error {
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return errors.New("the request is not PEM")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("parse the request: %w", err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: asked.Subject,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority.Leaf, asked.PublicKey, authority.PrivateKey)
	if err != nil {
		return fmt.Errorf("make the certificate: %w", err)
	}
	request.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return nil
}

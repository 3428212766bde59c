package expiry_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/expiry"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// pemOf are certificates, as a file of them, that end so long after the time of the tests.
func pemOf(t *testing.T, ends ...time.Duration) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, after := range ends {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotBefore: now().Add(-time.Hour * 24 * 365), NotAfter: now().Add(after)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

const day = 24 * time.Hour

// Of several certificates the first that ends counts; of CAs those that have ended do not, unless all have.
func TestTheFirstThatEnds(t *testing.T) {
	for name, test := range map[string]struct {
		kind expiry.Kind
		ends []time.Duration
		want time.Duration
	}{
		"one":                           {expiry.Client, []time.Duration{day}, day},
		"with the one that signed it":   {expiry.Client, []time.Duration{9 * day, 3 * day}, 3 * day},
		"one of them has ended":         {expiry.Serving, []time.Duration{9 * day, -day}, -day},
		"a CA beside its successor":     {expiry.CA, []time.Duration{9 * day, day}, day},
		"a CA that has ended beside it": {expiry.CA, []time.Duration{9 * day, -day}, 9 * day},
		"CAs that have all ended":       {expiry.CA, []time.Duration{-2 * day, -day}, -day},
		"a CA that ends now, beside it": {expiry.CA, []time.Duration{0, day}, day},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.crt")
			if err := os.WriteFile(path, pemOf(t, test.ends...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := []expiry.Certificate{{Credential: "it", Kind: test.kind, Ends: now().Add(test.want)}}
			if diff := cmp.Diff(want, expiry.OfFile("it", test.kind, path, now())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What a daemon exports is what the page of its metrics is read as, whether certificates are inside or in files. What is
// not there, or is none, is left out.
func TestThePageSaysWhatThereIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rcp.crt")
	if err := os.WriteFile(file, pemOf(t, 5*day), 0o600); err != nil {
		t.Fatal(err)
	}
	rcp := &rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: file, CAData: pemOf(t, 700*day)}}
	token := &rest.Config{BearerToken: "it", TLSClientConfig: rest.TLSClientConfig{CAFile: "/nowhere", CertData: []byte("none")}}
	kubeconfig := `{"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "a", "cluster": {"server": "https://a"}}],
		"users": [{"name": "a", "user": {"client-key-data": "aXQ=", "client-certificate-data": "` + base64.StdEncoding.EncodeToString(pemOf(t, -day)) + `"}}],
		"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "current-context": "a"}`
	cells := []routing.SavedCell{{Kubeconfig: []byte(kubeconfig)}, {Kubeconfig: []byte("{")}}
	cells[0].Cell, cells[1].Cell = cell("cell-1"), cell("cell-2")

	registry := prometheus.NewRegistry()
	registry.MustRegister(expiry.NewCollector(now, func(at time.Time) []expiry.Certificate {
		return append(append(expiry.OfConfig(expiry.RCP, rcp, at), expiry.OfConfig("@token", token, at)...), expiry.OfCells(cells, at)...)
	}))
	page := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	want := []expiry.Certificate{
		{Credential: "@rcp", Kind: expiry.CA, Ends: now().Add(700 * day)},
		{Credential: "@rcp", Kind: expiry.Client, Ends: now().Add(5 * day)},
		{Credential: "cell-1", Kind: expiry.Client, Ends: now().Add(-day)},
	}
	if diff := cmp.Diff(want, expiry.Read(page.Body.Bytes())); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, page.Body)
	}
}

func cell(name string) (out v1alpha1.Cell) {
	out.Name = name
	return out
}

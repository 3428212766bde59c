package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

func ensure(t *testing.T, dir layout.Dir, now time.Time, addresses ...net.IP) *Material {
	t.Helper()
	m, err := Ensure(dir, Request{Name: "cell-1", Addresses: addresses, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t *testing.T) layout.Dir {
	t.Helper()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func files(t *testing.T, dir layout.Dir) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir.PKI())
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir.PKI(), entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		contents[entry.Name()] = string(data)
	}
	return contents
}

// changed names the files that differ.
func changed(before, after map[string]string) []string {
	var names []string
	for name, content := range after {
		if before[name] != content {
			names = append(names, name)
		}
	}
	return names
}

func TestCertificatesFitTheirUse(t *testing.T) {
	dir, now := open(t), time.Now()
	m := ensure(t, dir, now, net.IPv4(10, 96, 0, 1))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.CA)

	server := leaf(t, dir, APIServer)
	for _, name := range []string{"localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1"} {
		if _, err := server.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("server as %s: %v", name, err)
		}
	}
	client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := server.Verify(client); err == nil {
		t.Error("the server's certificate passes for a client's")
	}
	for name, want := range map[string]string{
		Admin: "CN=cell-admin,O=system:masters", ControllerManager: "CN=system:kube-controller-manager",
	} {
		got := leaf(t, dir, name)
		if _, err := got.Verify(client); err != nil {
			t.Errorf("client %s: %v", name, err)
		}
		if got.Subject.String() != want {
			t.Errorf("client %s: got subject %s, want %s", name, got.Subject, want)
		}
	}
}

func leaf(t *testing.T, dir layout.Dir, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(dir.Cert(name), dir.Key(name))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestSecondRunChangesNothing(t *testing.T) {
	dir, now := open(t), time.Now()
	ensure(t, dir, now)
	before := files(t, dir)
	ensure(t, dir, now.Add(365*24*time.Hour))
	if names := changed(before, files(t, dir)); len(names) > 0 {
		t.Errorf("changed: %v", names)
	}
}

func TestRenewal(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		disturb func(t *testing.T, dir layout.Dir)
		later   time.Duration
		address net.IP
		want    string // files that change, by their beginning
		count   int
	}{
		"leaves about to expire":   {later: leafLife - renewBefore + time.Hour, count: 6},
		"everything has expired":   {later: authorityLife + time.Hour, count: 8},
		"another address":          {address: net.IPv4(192, 0, 2, 7), want: "apiserver.", count: 2},
		"a key is lost":            {disturb: remove("admin.key"), want: "admin.", count: 2},
		"a certificate is damaged": {disturb: overwrite("controller-manager.crt"), want: "controller-manager.", count: 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := open(t)
			ensure(t, dir, now)
			before := files(t, dir)
			if test.disturb != nil {
				test.disturb(t, dir)
			}
			var addresses []net.IP
			if test.address != nil {
				addresses = []net.IP{test.address}
			}
			ensure(t, dir, now.Add(test.later), addresses...)
			names := changed(before, files(t, dir))
			if len(names) != test.count {
				t.Errorf("changed: got %v, want %d files", names, test.count)
			}
			for _, name := range names {
				if !strings.HasPrefix(name, test.want) || strings.HasPrefix(name, "sa.") {
					t.Errorf("%s changed", name)
				}
			}
		})
	}
}

// A CA that lost its key cannot issue; a new one made in silence would lock every client out.
func TestDamagedAuthorityIsReported(t *testing.T) {
	for name, disturb := range map[string]func(*testing.T, layout.Dir){
		"key lost": remove("ca.key"), "key damaged": overwrite("ca.key"), "certificate damaged": overwrite("ca.crt"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := open(t)
			ensure(t, dir, time.Now())
			disturb(t, dir)
			_, err := Ensure(dir, Request{Name: "cell-1", Now: time.Now()})
			var hinted *fault.Error
			if !errors.As(err, &hinted) || hinted.Hint == "" {
				t.Errorf("got %v, want an error with a hint", err)
			}
		})
	}
}

// A crash between the CA's key and its certificate leaves a key alone, which counts as nothing.
func TestCrashDuringFirstRun(t *testing.T) {
	dir := open(t)
	m := ensure(t, dir, time.Now())
	remove("ca.crt")(t, dir)
	again := ensure(t, dir, time.Now())
	if bytes.Equal(m.CA, again.CA) {
		t.Error("the CA did not change")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(again.CA)
	if _, err := leaf(t, dir, APIServer).Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		t.Errorf("server's certificate is not of the new CA: %v", err)
	}
}

func remove(name string) func(*testing.T, layout.Dir) {
	return func(t *testing.T, dir layout.Dir) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir.PKI(), name)); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(name string) func(*testing.T, layout.Dir) {
	return func(t *testing.T, dir layout.Dir) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir.PKI(), name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

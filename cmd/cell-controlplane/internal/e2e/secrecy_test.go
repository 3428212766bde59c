package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// clientAs is a client with a certificate that the test issues by the CA's files, as sandboxes do.
func (p *plane) clientAs(user string, groups ...string) kubernetes.Interface {
	p.t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(p.dir, "pki", "ca.crt"), filepath.Join(p.dir, "pki", "ca.key"))
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: user, Organization: groups}, //nolint:misspell // a name of the standard library
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(p.config())
	config.CertData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	config.KeyData = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return kubernetes.NewForConfigOrDie(config)
}

// Nobody but the owner can read keys, kubeconfigs or data, or reach etcd's socket.
func filesArePrivate(t *testing.T, p *plane) {
	err := filepath.WalkDir(p.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		switch {
		case entry.IsDir() && mode != 0o700:
			t.Errorf("directory %s has mode %o, want 700", path, mode)
		case (strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".conf")) && mode != 0o600:
			t.Errorf("%s has mode %o, want 600", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The addresses of this machine other than loopback refuse connections to the apiserver's port, and the
// two processes listen on no port but that one.
func listensOnLoopbackOnly(t *testing.T, p *plane) {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.config().Host, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		ip, _, err := net.ParseCIDR(address.String())
		if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		connection, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), port), time.Second)
		if err == nil {
			connection.Close()
			t.Errorf("%s answers on the apiserver's port", ip)
		}
	}
	for _, pid := range []int{p.pid(), p.child()} {
		for _, got := range listening(t, pid) {
			if got != "127.0.0.1:"+port {
				t.Errorf("process %d listens on %s", pid, got)
			}
		}
	}
}

// listening returns the TCP addresses on which a process listens, where the system has a tool that knows.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		out, err := exec.Command("lsof", "-a", "-nP", "-p", strconv.Itoa(pid), "-iTCP", "-sTCP:LISTEN", "-Fn").Output()
		if err != nil {
			return nil // it listens on nothing
		}
		var addresses []string
		for line := range strings.Lines(string(out)) {
			if address, ok := strings.CutPrefix(strings.TrimSpace(line), "n"); ok {
				addresses = append(addresses, address)
			}
		}
		return addresses
	}
	return listeningFromProc(t, pid)
}

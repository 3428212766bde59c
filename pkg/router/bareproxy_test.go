package router_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// bareEnv tells this binary to be a bare proxy, and how the cell is reached behind it.
const bareEnv = "KUBECELL_BARE_PROXY"

// bareTarget is how a cell is reached.
type bareTarget struct {
	Host          string
	CA, Cert, Key []byte
}

// bare is the reverse proxy of the Go library between HTTP/2 and HTTP/2, and nothing else: it asks nobody who they are,
// decides nothing, counts nothing, and rewrites nothing. It prints where it serves, and ends with its standard input.
func bare(encoded string) error {
	var target bareTarget
	if err := json.Unmarshal([]byte(encoded), &target); err != nil {
		return err
	}
	security, err := rest.TLSConfigFor(&rest.Config{
		Host: target.Host, TLSClientConfig: rest.TLSClientConfig{CAData: target.CA, CertData: target.Cert, KeyData: target.Key},
	})
	if err != nil {
		return err
	}
	upstream, err := url.Parse(target.Host)
	if err != nil {
		return err
	}
	debug.SetGCPercent(300) // as the router has it
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: &http.Transport{TLSClientConfig: security, ForceAttemptHTTP2: true, DisableCompression: true},
	})
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startBare runs a bare proxy before a cell as a process of its own, as the router is one.
func startBare(b *testing.B, cell *rest.Config) *rest.Config {
	b.Helper()
	cell = rest.CopyConfig(cell)
	if err := rest.LoadTLSFiles(cell); err != nil {
		b.Fatal(err)
	}
	encoded, err := json.Marshal(bareTarget{cell.Host, cell.CAData, cell.CertData, cell.KeyData})
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), bareEnv+"="+string(encoded)), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &rest.Config{Host: strings.TrimSpace(line), TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// pretend is the command of scripts that has a control plane say that its clock is so far ahead and its version another
// one; all else is as it says itself. NAME.pretended is a kubeconfig for it, which the federation has of a cell until the
// end of the script.
//
//	pretend NAME AHEAD VERSION
func (b *bed) pretend(ts *testscript.TestScript, _ bool, args []string) {
	name, version := args[0], args[2]
	ahead, err := time.ParseDuration(args[1])
	ts.Check(err)
	server, err := newLiar(b.configs[name], ahead, version)
	ts.Check(err)
	ts.Defer(server.Close)
	config := clientcmdapi.NewConfig()
	config.Clusters["it"] = &clientcmdapi.Cluster{
		Server:                   server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	config.AuthInfos["it"] = &clientcmdapi.AuthInfo{}
	config.Contexts["it"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "it"}
	config.CurrentContext = "it"
	data, err := clientcmd.Write(*config)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(name+".pretended"), data, 0o600))
	if name == "rcp" {
		return
	}
	before, err := b.swapKubeconfig(name, data)
	ts.Check(err)
	ts.Defer(func() {
		_, err := b.swapKubeconfig(name, before)
		ts.Check(err)
	})
}

// newLiar serves what a control plane does, to anybody, but for its clock and its version.
func newLiar(config *rest.Config, ahead time.Duration, version string) (*httptest.Server, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	return httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			if r.Request.URL.Path != "/version" {
				return nil
			}
			said := map[string]any{}
			if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
				return err
			}
			said["gitVersion"] = version
			body, err := json.Marshal(said)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		},
	}), nil
}

// swapKubeconfig gives the federation another kubeconfig of a cell, and returns the one that it had.
func (b *bed) swapKubeconfig(cell string, data []byte) (before []byte, err error) {
	ctx := context.Background()
	c, err := b.client.Cells().Get(ctx, cell, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	secrets := b.kube.CoreV1().Secrets(v1alpha1.Namespace)
	secret, err := secrets.Get(ctx, c.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	before = secret.Data[v1alpha1.KubeconfigKey]
	secret.Data[v1alpha1.KubeconfigKey] = data
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	return before, err
}

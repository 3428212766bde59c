package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contexts makes a kubeconfig file with these contexts, the first of which is current.
func contexts(t *testing.T, names ...string) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	for _, name := range names {
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: "team"}
		config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + name}
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: name}
	}
	config.CurrentContext = names[0]
	file := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, file string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Which context is current after the sandbox's own have gone.
func TestCurrentContextAfterRemoval(t *testing.T) {
	for _, test := range []struct {
		name     string
		previous []string
		choose   string
		want     string
	}{
		{"given back", []string{"work"}, "box", "work"},
		{"of another cell of the sandbox", []string{"work"}, "box-rcp", "work"},
		{"chosen since", []string{"work"}, "home", "home"},
		{"previous one is gone", []string{"other-box", "home"}, "box", "home"},
		{"none before", nil, "box", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := contexts(t, "work", "home")
			before := load(t, file)
			b := &box{name: "box"}
			b.Kubeconfig = kubeconfigRecord{Files: []string{file}, Previous: test.previous}
			own := map[string]entry{"box": {server: "https://r"}, "box-rcp": {server: "https://c"}}
			if err := b.writeContexts(own, "box"); err != nil {
				t.Fatal(err)
			}
			during := load(t, file)
			if during.CurrentContext != "box" || during.Clusters["box-rcp"].Server != "https://c" {
				t.Errorf("contexts were not written: %+v", during)
			}
			during.CurrentContext = test.choose
			if err := clientcmd.WriteToFile(*during, file); err != nil {
				t.Fatal(err)
			}
			if err := b.removeContexts([]string{"box", "box-rcp"}); err != nil {
				t.Fatal(err)
			}
			before.CurrentContext = test.want
			if diff := cmp.Diff(before, load(t, file)); diff != "" {
				t.Errorf("kubeconfig after removal (-want +got):\n%s", diff)
			}
		})
	}
}

// Entries stay in the file where they are, and the namespace that a user has set for one stays.
func TestWriteContextsAgain(t *testing.T) {
	first, second := contexts(t, "box"), contexts(t, "work")
	b := &box{name: "box"}
	b.Kubeconfig = kubeconfigRecord{Files: []string{first, second}}
	if err := b.writeContexts(map[string]entry{"box": {server: "https://moved"}}, "box"); err != nil {
		t.Fatal(err)
	}
	got := load(t, first)
	if got.Clusters["box"].Server != "https://moved" || got.Contexts["box"].Namespace != "team" {
		t.Errorf("first file: cluster %+v, context %+v", got.Clusters["box"], got.Contexts["box"])
	}
	if other := load(t, second); other.Contexts["box"] != nil {
		t.Error("the entry is in the second file, too")
	}
}

func TestKubeconfigFiles(t *testing.T) {
	for _, test := range []struct {
		name, explicit string
		env            map[string]string
		want           []string
	}{
		{"explicit", "/x", map[string]string{"KUBECONFIG": "/a"}, []string{"/x"}},
		{"list", "", map[string]string{"KUBECONFIG": "/a::/b", "HOME": "/h"}, []string{"/a", "/b"}},
		{"home", "", map[string]string{"HOME": "/h"}, []string{"/h/.kube/config"}},
		{"nowhere", "", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := KubeconfigFiles(test.explicit, func(name string) string { return test.env[name] })
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want == nil) {
				t.Errorf("files: error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A record that this program cannot read is never taken for an absent one.
func TestDamagedRecord(t *testing.T) {
	for _, content := range []string{"", "{", `{"version":99,"name":"x"}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := readRecord(dir); err == nil {
			t.Errorf("%q was read as %+v", content, r)
		}
	}
}

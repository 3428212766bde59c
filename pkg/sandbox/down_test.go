package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

const userKubeconfig = `apiVersion: v1
kind: Config
current-context: work
clusters:
- name: work
  cluster: {server: "https://work.example:6443"}
users:
- name: me
  user: {token: abc}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: team}
`

// One life of a sandbox whose user has a kubeconfig already: contexts come and go, nothing else
// changes; a half-finished up (the state that kill -9 leaves) is completed.
func TestDownRestoresEverything(t *testing.T) {
	b := newBed(t)
	second := filepath.Join(filepath.Dir(b.kubeconfig), "second")
	write(t, second, userKubeconfig)
	before, err := clientcmd.LoadFromFile(second)
	if err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(filepath.Dir(b.kubeconfig), "missing")
	status, err := b.Up(t.Context(), sandbox.UpOptions{Cells: 1, KubeconfigFiles: []string{missing, second}})
	if err != nil {
		t.Fatal(err)
	}
	during, err := clientcmd.LoadFromFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if during.CurrentContext != sandbox.DefaultName || len(during.Contexts) != 4 {
		t.Errorf("current context %q of %d, want %q of 4", during.CurrentContext, len(during.Contexts), sandbox.DefaultName)
	}
	existed, err := b.Down(t.Context(), sandbox.DefaultName)
	if err != nil || !existed {
		t.Fatalf("down: existed %v, error %v", existed, err)
	}
	after, err := clientcmd.LoadFromFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("kubeconfig is not what it was (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Errorf("%s has been made", missing)
	}
	b.nothingLeft(t, pids(status)...)

	existed, err = b.Down(t.Context(), sandbox.DefaultName)
	if err != nil || existed {
		t.Errorf("second down: existed %v, error %v; want neither", existed, err)
	}
}

// What a kill -9 of the command leaves, in the middle of the first up and in the middle of a down, is
// completed by the next up.
func TestUpAfterCrashedCommands(t *testing.T) {
	b := newBed(t)
	b.crash(t, "up", "federation")
	status, err := b.Up(t.Context(), b.options(1))
	if err != nil || status.State != sandbox.Up {
		t.Fatalf("up after a cut-off up: %s, %v", status.State, err)
	}
	before := pids(status)
	b.crash(t, "down", "stop-router")
	status, err = b.Up(t.Context(), b.options(1))
	if err != nil || status.State != sandbox.Up {
		t.Fatalf("up after a cut-off down: %s, %v", status.State, err)
	}
	for _, pid := range before {
		awaitGone(t, pid)
	}
}

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"mvdan.cc/sh/v3/syntax"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// played are the pages whose blocks of sh are run, each page by one shell: all of them in one folder, in this order, since
// one goes on with what others have made. After each group the daemons that it has started are ended. Those of README are
// played by test/newcomer.
func played() [][]string {
	return [][]string{{"operations.md", "runbooks/alerts.md"}, {"runbooks/router.md"}, {"runbooks/backup.md"}}
}

// TestBlocksOfDocuments wants each block of sh below docs to be run by TestDocumentsRun or TestRehearsalsRun, or to say why
// it is not; and all of them to be what any POSIX shell reads.
func TestBlocksOfDocuments(t *testing.T) {
	run, pages := 0, slices.Concat(played()...)
	for _, path := range documents(t)[1:] { // after README
		page, err := filepath.Rel("../../docs", path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Count(string(data), "\n<!-- not run: ") + strings.Count(string(data), "\n<!-- run in a sandbox -->\n")
		for _, p := range shellBlocks(t, page) {
			where := fmt.Sprintf("docs/%s:%d", page, p.line)
			if p.excuse != "" || p.sandbox {
				said--
			}
			_, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(p.text), where)
			if err != nil {
				t.Error(err)
			}
			switch isRun := slices.Contains(pages, page); {
			case p.excuse != "":
			case isRun || p.sandbox:
				run++
			default:
				t.Errorf("%s: no test runs this block: add the page to played, or say why before it: <!-- not run: REASON -->", where)
			}
		}
		if said != 0 {
			t.Errorf("docs/%s: %d comments on how a block is run stand directly before none", page, said)
		}
	}
	if run < 15 {
		t.Errorf("%d blocks are run", run)
	}
}

// TestPlainKubectlInDocuments wants what documents and the examples of commands have kubectl itself do to be commands and
// flags that it has, also where it is not run.
func TestPlainKubectlInDocuments(t *testing.T) {
	seen := map[string]bool{}
	read := func(where, script string) {
		for _, words := range plainKubectl(script) {
			line := strings.Join(words, " ")
			if seen[line] {
				continue
			}
			seen[line] = true
			if err := kubectlTakes(words); err != nil {
				t.Errorf("%s: kubectl %s: %v", where, line, err)
			}
		}
	}
	for _, cmd := range allCommands(newRoot()) {
		read(cmd.CommandPath(), cmd.Example)
	}
	ofExamples := len(seen)
	for _, path := range documents(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range passages(string(data)) {
			isRun := p.shell && p.excuse == "" // which finds more
			if isRun || strings.Contains(p.excuse, "krew") {
				continue
			}
			read(fmt.Sprintf("%s:%d", path, p.line), p.text)
		}
	}
	if ofExamples < 3 || len(seen) < 10 {
		t.Errorf("found %d commands, %d of them in examples", len(seen), ofExamples)
	}
}

// TestDocumentsRun is an administrator who types what the pages say, with real control planes, real daemons, and
// stand-ins for what takes root: see testdata/docs.
func TestDocumentsRun(t *testing.T) {
	// A daemon that another test has killed keeps its Lease for a while, and the one that the pages start waits for that.
	b := newBed(t)
	err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(t.Context(), backup.LeaseName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	signRequests(t)
	old := snapshot(t)
	work := t.TempDir()
	environ := docsEnvironment(t, work, old)
	t.Cleanup(func() {
		endDaemons(filepath.Join(work, "root", "var", "lib", "kubectl-cell"))
		endDaemons(filepath.Join(work, ".local", "state", "kubectl-cell"))
	})
	t.Run("pages", func(t *testing.T) {
		for _, group := range played() {
			for _, page := range group {
				playPage(t, page, work, environ)
				if page == "operations.md" {
					b.wantRestored(t, old)
				}
			}
			if out, err := bash(t, work, environ, "kubectl cell router stop; kubectl cell backup stop"); err != nil {
				t.Fatalf("end the daemons: %v\n%s", err, out)
			}
		}
	})
	newBed(t) // with its own credentials for the cells, before those of the pages lose their rights
	if out, err := bash(t, work, environ, docsUndo); err != nil {
		t.Errorf("tidy up: %v\n%s", err, out)
	}
}

// playPage runs what a page has, until something fails.
func playPage(t *testing.T, page, dir string, environ []string) {
	t.Helper()
	var script strings.Builder
	for _, p := range shellBlocks(t, page) {
		if p.excuse == "" && !p.sandbox {
			fmt.Fprintf(&script, "block=%d\n%s", p.line, p.text)
		}
	}
	playScript(t, page, dir, environ, script.String())
}

// playScript runs commands of a page; the first that fails is named with its block.
func playScript(t *testing.T, page, dir string, environ []string, script string) {
	t.Helper()
	trap := "trap 'echo \"failed: docs/" + page + ":$block: $BASH_COMMAND\" >&2' ERR\n"
	if out, err := bash(t, dir, environ, trap+script); err != nil {
		t.Fatalf("docs/%s: %v\n%s", page, err, out)
	}
}

// rehearsalOf are what a page takes for granted that speaks of a sandbox.
func rehearsalOf() map[string]string {
	return map[string]string{
		"failover.md": "",
		// Four cells, of which one has left, and its kubeconfig.
		"operations.md": `
kubectl cell sandbox cell add cell-4
kubectl cell drain cell-4
kubectl cell remove cell-4 --yes
kubectl config view --minify --flatten --context cell-sandbox-cell-4 >c4.yaml
`,
	}
}

// TestRehearsalsRun is a person with a sandbox who types what the pages say that are about one: first a bad day, then a
// cell more.
func TestRehearsalsRun(t *testing.T) {
	work, err := os.MkdirTemp("", "docs-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	environ := rehearsalEnvironment(t, work)
	t.Cleanup(func() {
		if out, err := bash(t, work, environ, "kubectl cell sandbox down --all"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	before := rehearsalOf()
	played := 0
	for _, path := range documents(t)[1:] {
		page, err := filepath.Rel("../../docs", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range shellBlocks(t, page) {
			if p.sandbox {
				played++
				playScript(t, page, work, environ, fmt.Sprintf("block=%d\n%s%s", p.line, before[page], p.text))
			}
		}
	}
	if played != len(before) {
		t.Errorf("%d blocks are run in a sandbox; want %d", played, len(before))
	}
}

func rehearsalEnvironment(t *testing.T, work string) []string {
	t.Helper()
	plane, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	standIns, err := filepath.Abs("testdata/docs")
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"PATH=" + standIns + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + work, "TMPDIR=" + work, "USER=you", "KUBECONFIG=" + filepath.Join(work, "kubeconfig"),
		"KUBECELL_CONTROLPLANE=" + plane, "KUBECELL_BINARY=" + cell,
	}
}

// docsUndo takes away what the pages have made.
const docsUndo = `
kubectl --context rcp delete failovers --all
kubectl --context rcp delete clusterrolebindings cell-admins cell-admin kubecell-router-pods kubecell-backup-pods
kubectl --context rcp -n kubecell-system delete deployment,poddisruptionbudget,service,networkpolicy,configmap,serviceaccount,rolebinding \
  -l 'app.kubernetes.io/name in (kubecell-router,kubecell-backup)'
kubectl --context rcp -n kubecell-system delete rolebinding/cell-admins rolebinding/cell-admin serviceaccount/cell-admin \
  configmap/kubecell-client-ca secret/kubecell-router-tls
for context in rcp cell-1 cell-2 cell-3; do
  kubectl --context "$context" delete csr --all
done
for n in 1 2 3; do
  kubectl --context "cell-$n" delete clusterrolebinding kubecell
done
`

// docsEnvironment is what a shell of the pages finds: the stand-ins before everything else on PATH, and a kubeconfig of
// an administrator whose contexts are called as in the pages.
func docsEnvironment(t *testing.T, work string, restored *rest.Config) []string {
	t.Helper()
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(work, "root")
	standIns, port := standInMachine(t, root)
	backupPort, err := sandboxtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := clientcmd.WriteToFile(*docsContexts(t, restored), filepath.Join(work, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	return []string{
		"PATH=" + standIns + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + work, "TMPDIR=" + work, "ROOT=" + root, "PORT=" + port, "BACKUP_PORT=" + backupPort, "KUBECELL_BINARY=" + cell,
		launch.UnitsHomeEnv + "=" + filepath.Join(root, "var", "lib", "kubectl-cell"),
		"KUBECONFIG=" + filepath.Join(work, "kubeconfig"), "KUBE_EDITOR=true",
	}
}

// standInMachine makes the folders that units need below root. It returns where the programs are that stand in for those
// that take root, and a port that is free.
func standInMachine(t *testing.T, root string) (standIns, port string) {
	t.Helper()
	standIns, err := filepath.Abs("testdata/docs")
	if err != nil {
		t.Fatal(err)
	}
	if port, err = sandboxtest.FreePort(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/systemd/system", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return standIns, port
}

// docsContexts are those that the pages speak of: the RCP, one that was restored, and the cells.
func docsContexts(t *testing.T, restored *rest.Config) *clientcmdapi.Config {
	t.Helper()
	configs := map[string]*rest.Config{"restored": restored}
	for i, config := range planes.Configs(t) {
		name := fmt.Sprintf("cell-%d", i)
		if i == 0 {
			name = "rcp"
		}
		configs[name] = config
	}
	out := clientcmdapi.NewConfig()
	for name, config := range configs {
		one, err := clientcmd.Load(sandboxtest.Kubeconfig(t, config))
		if err != nil {
			t.Fatal(err)
		}
		out.Clusters[name], out.AuthInfos[name] = one.Clusters["it"], one.AuthInfos["it"]
		out.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	return out
}

// snapshot starts a router control plane as one from before the first cell would be.
func snapshot(t *testing.T) *rest.Config {
	t.Helper()
	pool := sandboxtest.NewPool(1)
	t.Cleanup(pool.Close)
	config := pool.Configs(t)[0]
	if _, err := federation.Init(t.Context(), config, federation.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return config
}

// wantRestored wants a control plane to have what the RCP has of the ring, the cells and their credentials, and a window
// that no router has acknowledged.
func (b *bed) wantRestored(t *testing.T, config *rest.Config) {
	t.Helper()
	want, got := stored(t, b.configs["rcp"]), stored(t, config)
	if got.Window <= want.Window {
		t.Errorf("docs/operations.md restores window %d, and it was %d", got.Window, want.Window)
	}
	want.Window = got.Window
	if diff := cmp.Diff(want, got); diff != "" || len(want.Kubeconfigs) != 3 {
		t.Errorf("docs/operations.md restores %d cells (-of the RCP +restored):\n%s", len(got.Kubeconfigs), diff)
	}
}

// essential is what routers go by.
type essential struct {
	Spec            v1alpha1.RingSpec
	Epoch, Window   int64
	Phase           v1alpha1.RingPhase
	Current, Target *v1alpha1.RingLayout
	Slots           []v1alpha1.RingSlot
	Cells           map[string]v1alpha1.CellSpec
	Annotations     map[string]map[string]string
	Kubeconfigs     map[string][]byte
}

func stored(t *testing.T, config *rest.Config) essential {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cells, err := c.Cells().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	s := ring.Status
	out := essential{
		Spec: ring.Spec, Epoch: s.Epoch, Window: s.Window, Phase: s.Phase, Current: s.Current, Target: s.Target, Slots: s.Slots,
		Cells: map[string]v1alpha1.CellSpec{}, Annotations: map[string]map[string]string{}, Kubeconfigs: map[string][]byte{},
	}
	for _, cell := range cells.Items {
		secret, err := kube.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), cell.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out.Cells[cell.Name], out.Annotations[cell.Name] = cell.Spec, cell.Annotations
		out.Kubeconfigs[cell.Name] = secret.Data[v1alpha1.KubeconfigKey]
	}
	return out
}

// shellBlocks are the blocks of sh of a page below docs.
func shellBlocks(t *testing.T, page string) []passage {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(passages(string(data)), func(p passage) bool { return !p.shell })
}

// bash runs a script, of which each command has to succeed, and returns what it has printed.
func bash(t *testing.T, dir string, environ []string, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("bash", "-Eeuo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, environ
	file, err := os.Create(filepath.Join(dir, "printed"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file // a file, which daemons that go on do not keep waiting
	failed := cmd.Run()
	data, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data), failed
}

package add_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

var (
	update = flag.Bool("update", false, "rewrite the expected output in the scripts")
	// planes are the RCP and two cells.
	planes = sandboxtest.NewPool(3)
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// TestScripts plays an administrator's life with the ring, from `init` to `remove`: the commands that
// operate it are told apart by one federation's history, so that they are tested together, here. Each
// script begins with a control plane without Ring and Cells.
func TestScripts(t *testing.T) {
	configs := planes.Configs(t)
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %v, %v", scripts, err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			clear(t, configs[0])
			testscript.Run(t, testscript.Params{
				Files: []string{script}, UpdateScripts: *update, RequireUniqueNames: true,
				Setup: func(env *testscript.Env) error { return setup(env, configs) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"cell":     runCell,
					"hold":     func(ts *testscript.TestScript, _ bool, args []string) { hold(ts, configs[0], args[0]) },
					"workload": func(ts *testscript.TestScript, _ bool, args []string) { workload(ts, configs[1], args[0]) },
					"down":     func(ts *testscript.TestScript, _ bool, args []string) { down(ts, configs[0], args[0]) },
					"failed":   func(ts *testscript.TestScript, _ bool, args []string) { failed(ts, configs[0], args[0]) },
				},
			})
		})
	}
}

// clear removes what the script before left.
func clear(t *testing.T, rcp *rest.Config) {
	t.Helper()
	c, err := client.New(rcp)
	if err != nil {
		t.Fatal(err)
	}
	ignore := func(err error) {
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	ignore(c.Rings().Delete(t.Context(), v1alpha1.RingName, metav1.DeleteOptions{}))
	list, err := c.Cells().List(t.Context(), metav1.ListOptions{})
	ignore(err)
	if err != nil {
		return
	}
	for _, cell := range list.Items {
		ignore(c.Cells().Delete(t.Context(), cell.Name, metav1.DeleteOptions{}))
	}
}

// setup writes rcp.yaml, c1.yaml and c2.yaml, and makes the first one the user's kubeconfig.
func setup(env *testscript.Env, configs []*rest.Config) error {
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("KUBECTL_CELL_HOME", env.WorkDir+"/state")
	env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "rcp.yaml"))
	env.Setenv("C2", configs[2].Host)
	for i, name := range []string{"rcp", "c1", "c2"} {
		if err := writeKubeconfig(env.WorkDir, name, configs[i]); err != nil {
			return err
		}
	}
	return nil
}

// down is the command of scripts after which a cell does not answer: nobody listens at its address.
//
//	down CELL
func down(ts *testscript.TestScript, rcp *rest.Config, name string) {
	c, err := client.New(rcp)
	ts.Check(err)
	cell, err := c.Cells().Get(context.Background(), name, metav1.GetOptions{})
	ts.Check(err)
	cell.Spec.Endpoints = []string{"https://127.0.0.1:1"}
	_, err = c.Cells().Update(context.Background(), cell, metav1.UpdateOptions{})
	ts.Check(err)
}

// failed is the command of scripts after which a cell was failed over, which had no workloads:
//
//	failed CELL
func failed(ts *testscript.TestScript, rcp *rest.Config, name string) {
	c, err := client.New(rcp)
	ts.Check(err)
	ring, err := c.Rings().Get(context.Background(), v1alpha1.RingName, metav1.GetOptions{})
	ts.Check(err)
	out := func(m v1alpha1.RingMember) bool { return m.Cell == name }
	ring.Spec.Members = slices.DeleteFunc(ring.Spec.Members, out)
	ring, err = c.Rings().Update(context.Background(), ring, metav1.UpdateOptions{})
	ts.Check(err)
	ring.Status.Current.Members = slices.DeleteFunc(ring.Status.Current.Members, out)
	ring.Status.Unavailable, ring.Status.Epoch = []string{name}, ring.Status.Epoch+1
	_, err = c.Rings().UpdateStatus(context.Background(), ring, metav1.UpdateOptions{})
	ts.Check(err)
}

// workload is the command of scripts that makes a config map in the first cell:
//
//	workload NAME
func workload(ts *testscript.TestScript, cell *rest.Config, name string) {
	kube, err := kubernetes.NewForConfig(cell)
	ts.Check(err)
	maps := kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	_, err = maps.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(maps.Delete(context.Background(), name, metav1.DeleteOptions{})) })
}

// hold is the command of scripts that takes the backup daemon's Lease, as the daemon does:
//
//	hold SECONDS
func hold(ts *testscript.TestScript, rcp *rest.Config, seconds string) {
	n, err := strconv.ParseInt(seconds, 10, 32)
	ts.Check(err)
	kube, err := kubernetes.NewForConfig(rcp)
	ts.Check(err)
	leases := kube.CoordinationV1().Leases(v1alpha1.Namespace)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: backup.LeaseName},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("a daemon"), LeaseDurationSeconds: ptr.To(int32(n)), RenewTime: ptr.To(metav1.NowMicro()),
		},
	}
	_, err = leases.Create(context.Background(), lease, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() {
		ts.Check(leases.Delete(context.Background(), lease.Name, metav1.DeleteOptions{}))
	})
}

// writeKubeconfig writes NAME.yaml, with the CA in a file beside it, as people's kubeconfigs often are.
func writeKubeconfig(dir, name string, config *rest.Config) error {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+"-ca.crt"), config.CAData, 0o600); err != nil {
		return err
	}
	out := clientcmdapi.NewConfig()
	out.Clusters["it"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthority: name + "-ca.crt"}
	out.AuthInfos["it"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	out.Contexts["it"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "it"}
	// Another context of the file, which must not be stored: its credentials are a program.
	out.AuthInfos["person"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		Command: "login", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}}
	out.Contexts["person"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "person"}
	out.CurrentContext = "it"
	return clientcmd.WriteToFile(*out, filepath.Join(dir, name+".yaml"))
}

// runCell is the command of scripts that runs kubectl cell in this process:
//
//	cell CODE ARGUMENT… [< FILE]
//
// CODE is the exit code that is expected; with a file as input there is a terminal, too.
func runCell(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	in, terminal := "", false
	if args = args[1:]; len(args) > 2 && args[len(args)-2] == "<" {
		in, terminal, args = ts.ReadFile(args[len(args)-1]), true, args[:len(args)-2]
	}
	flags := genericclioptions.NewConfigFlags(true)
	// What client-go would read from the environment of the process.
	*flags.KubeConfig = ts.Getenv("KUBECONFIG")
	*flags.CacheDir = ts.MkAbs("cache")
	env := &command.Env{
		IOStreams:   genericiooptions.IOStreams{In: strings.NewReader(in), Out: ts.Stdout(), ErrOut: ts.Stderr()},
		Flags:       flags,
		Clock:       clock.RealClock{},
		Getenv:      func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] + ts.Getenv(name) },
		Interactive: terminal,
		Program:     "kubectl cell",
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if got := cli.Run(ctx, env, append([]string{"kubectl-cell"}, args...)); got != exit.Code(want) {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

package cli_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestScriptsWithCells runs the scripts that talk to a federation: a router control plane and three
// cells, all real. They share it and run one after the other; each begins with the ring of epoch 1.
func TestScriptsWithCells(t *testing.T) {
	b := newBed(t)
	scripts, err := filepath.Glob("testdata/cells/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %v, %v", scripts, err)
	}
	for _, script := range scripts {
		// One call for each script, since scripts of one call run at the same time.
		t.Run(filepath.Base(script), func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: []string{script}, Setup: b.setup, UpdateScripts: *update, RequireUniqueNames: true,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"cell": runCell, "completes": completes, "repeat": repeat, "retry": retry, "pick": pick, "ring": b.setRing, "create": b.create, "lease": b.lease, "crash": crash, "unzip": unzip, "event": b.event,
					"contexts": contexts, "pretend": b.pretend, "failover": b.failover, "drift": b.drift,
				},
			})
		})
	}
}

// lease is the command of scripts that registers a router which was last seen so long ago; its own
// clock is behind that of the RCP by SKEW. It is gone at the end of the script. One that answers does so at its admin port.
//
//	lease NAME AGE [SKEW [answers]]
func (b *bed) lease(ts *testscript.TestScript, _ bool, args []string) {
	age, err := time.ParseDuration(args[1])
	ts.Check(err)
	skew := time.Duration(0)
	if len(args) > 2 {
		skew, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	of := metav1.ObjectMeta{Name: args[0], Labels: map[string]string{v1alpha1.LabelComponent: "router"}}
	if len(args) > 3 && args[3] == "answers" {
		admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(router.Views{Router: args[0]}) // an error is that of who asked
		}))
		ts.Defer(admin.Close)
		of.Annotations = map[string]string{v1alpha1.AnnotationAdminURL: admin.URL}
	}
	b.hold(ts, of, args[0], age, skew)
}

// hold has somebody hold a Lease, who renewed it so long ago, by a clock that is so far behind, until the end of the script.
func (b *bed) hold(ts *testscript.TestScript, of metav1.ObjectMeta, holder string, age, skew time.Duration) {
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	made, err := leases.Create(context.Background(), &coordinationv1.Lease{
		ObjectMeta: of,
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(120)), RenewTime: ptr.To(metav1.NewMicroTime(time.Now().Add(-age - skew))),
		},
	}, metav1.CreateOptions{FieldManager: "router"})
	ts.Check(err)
	for i := range made.ManagedFields {
		made.ManagedFields[i].Time = ptr.To(metav1.NewTime(time.Now().Add(-age)))
	}
	// An apiserver takes the times of those who change nothing in it.
	metav1.SetMetaDataAnnotation(&made.ObjectMeta, v1alpha1.AnnotationEpoch, "1")
	_, err = leases.Update(context.Background(), made, metav1.UpdateOptions{FieldManager: "script"})
	ts.Check(err)
	ts.Defer(func() {
		if err := leases.Delete(context.Background(), of.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			ts.Check(err)
		}
	})
}

// bed is a federation that was founded with cell-1 to cell-3.
type bed struct {
	kubeconfig []byte
	ca         []byte // of the clients of the RCP
	client     *client.Client
	kube       kubernetes.Interface
	configs    map[string]*rest.Config // of rcp and the cells
	files      map[string][]byte       // kubeconfigs of the cells
	planes     map[string]dynamic.Interface
}

func newBed(t *testing.T) *bed {
	t.Helper()
	configs := planes.Configs(t)
	b := &bed{kubeconfig: sandboxtest.Kubeconfig(t, configs[0]), planes: map[string]dynamic.Interface{}, configs: map[string]*rest.Config{}, files: map[string][]byte{}}
	b.ca = configs[0].CAData
	var err error
	if b.client, err = client.New(configs[0]); err != nil {
		t.Fatal(err)
	}
	if b.kube, err = kubernetes.NewForConfig(configs[0]); err != nil {
		t.Fatal(err)
	}
	var founders []federation.NewCell
	for i, config := range configs {
		name := fmt.Sprintf("cell-%d", i)
		if i == 0 {
			name = "rcp"
		}
		b.configs[name] = config
		if i > 0 {
			b.files[name] = sandboxtest.Kubeconfig(t, config)
			founders = append(founders, federation.NewCell{Name: name, Kubeconfig: b.files[name]})
			config = fence.AsMover(config) // which may make objects in migration
		}
		if b.planes[name], err = dynamic.NewForConfig(config); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := federation.Init(t.Context(), configs[0], federation.InitOptions{
		Founders: founders, PointsPerWeight: bedPoints,
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

// setup gives a script access to the RCP.
func (b *bed) setup(env *testscript.Env) error {
	env.Defer(func() { b.forgetDaemons(env) }) // after they have ended
	if err := isolate(env); err != nil {
		return err
	}
	path := filepath.Join(env.WorkDir, "kubeconfig")
	env.Setenv("KUBECONFIG", path)
	if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.crt"), b.ca, 0o600); err != nil {
		return err
	}
	port, err := sandboxtest.FreePort()
	if err != nil {
		return err
	}
	env.Setenv("PORT", port)
	return os.WriteFile(path, b.kubeconfig, 0o600)
}

// forgetDaemons deletes the Leases that routers and backup daemons of a script have left, which the next one would see.
func (b *bed) forgetDaemons(env *testscript.Env) {
	ctx, leases := context.Background(), b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	err := leases.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if err != nil {
		env.T().Fatal("delete the Leases of routers:", err)
	}
	if err := leases.Delete(ctx, backup.LeaseName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		env.T().Fatal("delete the Lease of the backup daemons:", err)
	}
}

// crash is the command of scripts that kills the daemon of a state directory and waits until it is gone:
//
//	crash DIR
func crash(ts *testscript.TestScript, _ bool, args []string) {
	path := filepath.Join(ts.MkAbs(args[0]), "lock")
	holder, held, err := daemon.Inspect(path)
	ts.Check(err)
	if !held {
		ts.Fatalf("nobody holds %s", path)
	}
	process, err := os.FindProcess(holder.PID)
	ts.Check(err)
	ts.Check(process.Kill())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ts.Check(wait.PollUntilContextCancel(ctx, 10*time.Millisecond, true, func(context.Context) (bool, error) {
		_, held, err := daemon.Inspect(path)
		return !held, err
	}))
}

// event is the command of scripts that makes an Event of a Deployment in a cell, which was seen so long ago by the
// clock of the scripts; it is deleted at the end of the script.
//
//	event CELL NAMESPACE NAME TYPE REASON AGE MESSAGE
func (b *bed) event(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	age, err := time.ParseDuration(args[5])
	ts.Check(err)
	seen := scriptTime().Add(-age).Format(time.RFC3339)
	name := args[2][:min(len(args[2]), 200)] + "." + strings.ToLower(args[4])
	events := b.planes[args[0]].Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(args[1])
	_, err = events.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": name},
		"involvedObject": map[string]any{"kind": "Deployment", "name": args[2], "namespace": args[1]},
		"type":           args[3], "reason": args[4], "message": strings.ReplaceAll(args[6], `\n`, "\n"), "firstTimestamp": seen, "lastTimestamp": seen,
	}}, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(events.Delete(ctx, name, metav1.DeleteOptions{})) })
}

// retry is the command of scripts that runs a program until it succeeds, for half a minute:
//
//	retry PROGRAM ARGUMENT…
func retry(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return ts.Exec(args[0], args[1:]...) == nil, nil
	}))
}

// unzip is the command of scripts that extracts a zip file:
//
//	unzip FILE DIR
func unzip(ts *testscript.TestScript, _ bool, args []string) {
	archive, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer archive.Close()
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), archive))
}

// contexts is the command of scripts that adds contexts ctx-1, ctx-2, … to a kubeconfig, none of which has a server:
//
//	contexts FILE COUNT
func contexts(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	config, err := clientcmd.LoadFromFile(path)
	ts.Check(err)
	config.Clusters["nobody"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	for i := range count {
		config.Contexts[fmt.Sprintf("ctx-%d", i+1)] = &clientcmdapi.Context{Cluster: "nobody", AuthInfo: "it"}
	}
	ts.Check(clientcmd.WriteToFile(*config, path))
}

// setRing is the command of scripts that replaces the Ring's spec and status by those of a file:
//
//	ring FILE
//
// The previous ones come back at the end of the script.
func (b *bed) setRing(ts *testscript.TestScript, _ bool, args []string) {
	ring := &v1alpha1.Ring{}
	ts.Check(yaml.UnmarshalStrict([]byte(ts.ReadFile(args[0])), ring))
	before, err := b.client.Rings().Get(context.Background(), v1alpha1.RingName, metav1.GetOptions{})
	ts.Check(err)
	ts.Check(b.writeRing(ring))
	ts.Defer(func() { ts.Check(b.writeRing(before)) })
}

func (b *bed) writeRing(wanted *v1alpha1.Ring) error {
	ctx := context.Background()
	ring, err := b.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ring.Spec = wanted.Spec
	if ring, err = b.client.Rings().Update(ctx, ring, metav1.UpdateOptions{}); err != nil {
		return err
	}
	ring.Status = wanted.Status
	_, err = b.client.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{})
	return err
}

// create is the command of scripts that makes a ConfigMap in a cell, and its namespace where that is
// missing; it is deleted at the end of the script.
//
//	create CELL NAMESPACE NAME [REBALANCE-STATUS]
func (b *bed) create(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	cell, namespace, name := b.planes[args[0]], args[1], args[2]
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	object := func(kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name},
		}}
	}
	_, err := cell.Resource(namespaces).Create(ctx, object("Namespace", namespace), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		ts.Fatalf("create namespace: %v", err)
	}
	configMap := object("ConfigMap", name)
	if len(args) > 3 {
		configMap.SetLabels(map[string]string{v1alpha1.LabelRebalanceStatus: args[3]})
	}
	_, err = cell.Resource(configMaps).Namespace(namespace).Create(ctx, configMap, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() { // in whichever cells it is by then
		for _, plane := range b.planes {
			if err := plane.Resource(configMaps).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				ts.Check(err)
			}
		}
	})
}

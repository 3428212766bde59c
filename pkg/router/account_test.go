package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

// newAccountedBed runs a router with an admin port and returns the URL of that.
func newAccountedBed(t *testing.T) (b *bed, admin string) {
	t.Helper()
	b = newBedOn(t, planes.Configs(t), found)
	b.forgetRouters(t)
	b.router, _ = startRouter(t, b.rcp, t.TempDir(), withAdminPort(&admin))
	return b, admin
}

// withAdminPort has a router open one, whose URL is put into admin.
func withAdminPort(admin *string) func(*router.Config) {
	return func(c *router.Config) {
		c.AdminListen = "127.0.0.1:0"
		c.AdminReady = func(url string) { *admin = url }
	}
}

func readLedger(t *testing.T, admin, cell string) (report ledger.Report) {
	t.Helper()
	code, body := plain(t, admin+"/ledger?cell="+cell)
	if err := json.Unmarshal([]byte(body), &report); code != http.StatusOK || err != nil {
		t.Fatalf("ledger of %s: %d %s (%v)", cell, code, body, err)
	}
	return report
}

// remembered counts the writes to config maps of a namespace in a cell's ledger.
func remembered(t *testing.T, admin, cell, ns string) int {
	t.Helper()
	return len(slices.DeleteFunc(readLedger(t, admin, cell).Entries, func(e ledger.Entry) bool { return e.Namespace != ns || e.Resource != "configmaps" }))
}

// accounts is what the ledgers of all cells say of a namespace, by resource, name and UID.
func (b *bed) accounts(t *testing.T, admin, ns string) map[string]ledger.Entry {
	t.Helper()
	out := map[string]ledger.Entry{}
	for cell := range b.cells {
		report := readLedger(t, admin, cell)
		if !report.Complete || report.Router == "" || report.Cell != cell || report.Started.IsZero() {
			t.Errorf("report of %s: %+v", cell, report)
		}
		for _, e := range report.Entries {
			if e.Namespace == ns {
				out[e.Resource+" "+e.Name+" "+e.UID] = e
			}
		}
	}
	return out
}

// writes are done one after the other, by their names, to a config map of that name. Each returns what becomes of it.
func writes(t *testing.T, config *rest.Config, ns string) map[string]func(name string) error {
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	made := func(name string) *corev1.ConfigMap {
		object, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	held := func(name string) *corev1.ConfigMap {
		object := made(name)
		object.Finalizers = []string{"example.com/hold"}
		object, err := maps.Update(t.Context(), object, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	release := []byte(`{"metadata":{"finalizers":null}}`)
	return map[string]func(name string) error{
		"create": func(name string) error { made(name); return nil },
		"update": func(name string) error {
			object := made(name)
			object.Data = map[string]string{"k": "v"}
			_, err := maps.Update(t.Context(), object, metav1.UpdateOptions{})
			return err
		},
		"patch": func(name string) error {
			made(name)
			_, err := maps.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"k":"v"}}`), metav1.PatchOptions{})
			return err
		},
		"apply": func(name string) error {
			_, err := maps.Apply(t.Context(), applycorev1.ConfigMap(name, ns), metav1.ApplyOptions{FieldManager: "test"})
			return err
		},
		"delete": func(name string) error { made(name); return maps.Delete(t.Context(), name, metav1.DeleteOptions{}) },
		"again": func(name string) error {
			made(name)
			err := maps.Delete(t.Context(), name, metav1.DeleteOptions{})
			made(name)
			return err
		},
		"held": func(name string) error { held(name); return maps.Delete(t.Context(), name, metav1.DeleteOptions{}) },
		"released": func(name string) error {
			held(name)
			if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				return err
			}
			_, err := maps.Patch(t.Context(), name, types.MergePatchType, release, metav1.PatchOptions{})
			return err
		},
		"tried": func(name string) error {
			made(name)
			dry := []string{metav1.DryRunAll}
			_, err := maps.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"k":"v"}}`), metav1.PatchOptions{DryRun: dry})
			if err != nil {
				return err
			}
			return maps.Delete(t.Context(), name, metav1.DeleteOptions{DryRun: dry})
		},
	}
}

// TestTheLedgerIsWhatTheCellsHave: of each object the version that its cell has, or that it is gone.
func TestTheLedgerIsWhatTheCellsHave(t *testing.T) {
	b, admin := newAccountedBed(t)
	ns := b.namespace(t, "accounts")
	for encoding, contentType := range map[string]string{"json": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType, config.AcceptContentTypes = contentType, contentType
		for verb, do := range writes(t, config, ns) {
			if err := do(verb + "-" + encoding); err != nil {
				t.Errorf("%s in %s: %v", verb, encoding, err)
			}
		}
	}
	b.wantAccounts(t, admin, ns, map[string]string{
		"create": "create", "update": "update", "patch": "patch", "apply": "patch", "delete": "gone", "again": "create gone",
		"held": "delete", "released": "gone", "tried": "create",
	})
}

// wantAccounts compares the ledger with the cells. want has the last verb of each object, or "gone" for one that is not
// there any more, by the name up to its first hyphen.
func (b *bed) wantAccounts(t *testing.T, admin, ns string, want map[string]string) {
	t.Helper()
	got := map[string][]string{}
	for _, e := range b.accounts(t, admin, ns) {
		live, err := kube(t, b.cells[e.Cell]).CoreV1().ConfigMaps(ns).Get(t.Context(), e.Name, metav1.GetOptions{})
		there := err == nil && string(live.UID) == e.UID
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			t.Fatal(err)
		case e.UID == "" || e.Gone == there:
			t.Errorf("%+v; it is there: %v", e, there)
		case there && e.Version != live.ResourceVersion:
			t.Errorf("%s has version %s in cell %s and %s in the ledger", e.Name, live.ResourceVersion, e.Cell, e.Version)
		}
		verb := e.Verb
		if e.Gone {
			verb = "gone"
		}
		got[e.Name] = append(got[e.Name], verb)
	}
	said := map[string]string{}
	for name, verbs := range got {
		slices.Sort(verbs)
		said[name] = strings.Join(verbs, " ")
	}
	all := map[string]string{}
	for name, verbs := range want {
		for _, encoding := range []string{"json", "protobuf"} {
			all[name+"-"+encoding] = verbs
		}
	}
	if diff := cmp.Diff(all, said); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func TestDeletedCollectionsAndRawWritesAreInTheLedger(t *testing.T) {
	b, admin := newAccountedBed(t)
	ns := b.namespace(t, "accounts-many")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	names := b.oneOfEach(t, ns)
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, metav1.ListOptions{LabelSelector: "parity"}); err != nil {
		t.Fatal(err)
	}
	for key, e := range b.accounts(t, admin, ns) {
		if e.Gone {
			t.Errorf("%s is gone after a dry run", key)
		}
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "parity"}); err != nil {
		t.Fatal(err)
	}
	gone := map[string]bool{}
	for _, e := range b.accounts(t, admin, ns) {
		gone[e.Cell+" "+e.Name] = e.Gone
	}
	for cell, name := range names {
		if !gone[cell+" "+name] {
			t.Errorf("%s in %s was deleted with its collection, and the ledger has %v", name, cell, gone)
		}
	}

	raw := rest.CopyConfig(b.router)
	raw.Host += "/cells/cell-2"
	direct := kube(t, raw).CoreV1().ConfigMaps(ns)
	for _, name := range []string{"raw-1", "raw-2", "raw-3"} {
		if _, err := direct.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"raw": ""}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// An apiserver does not look at the query of a deletion that has a body.
	code, body := b.send(t, http.MethodDelete, "/cells/cell-2/api/v1/namespaces/"+ns+"/configmaps/raw-1?dryRun=All", "application/json", "{}")
	if code != http.StatusOK {
		t.Fatalf("raw delete: %d %s", code, body)
	}
	if _, err := direct.Get(t.Context(), "raw-1", getOptions()); !apierrors.IsNotFound(err) {
		t.Fatalf("after a raw delete whose body is no dry run: %v", err)
	}
	if err := direct.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "raw", FieldSelector: "metadata.name=raw-2"}); err != nil {
		t.Fatal(err)
	}
	// Of a field manager whose name looks like the parameter that makes a write a dry run.
	code, body = b.send(t, http.MethodPut, "/cells/cell-2/api/v1/namespaces/"+ns+"/configmaps/raw-3?fieldManager=no-dryRun=all", "application/yaml", "metadata: {name: raw-3}\ndata: {k: v}\n")
	if code != http.StatusOK {
		t.Fatalf("raw update in YAML: %d %s", code, body)
	}
	said := map[string]string{}
	for _, e := range b.accounts(t, admin, ns) {
		if strings.HasPrefix(e.Name, "raw") {
			said[e.Name] = fmt.Sprint(e.Verb, " ", e.Gone, " ", e.Cell, " ", e.UID != "")
		}
	}
	want := map[string]string{"raw-1": "delete true cell-2 true", "raw-2": "delete true cell-2 true", "raw-3": "update false cell-2 true"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("raw writes (-want +got):\n%s", diff)
	}
}

// publish is what a backup daemon does once it has everything of a resource up to a version.
func (b *bed) publish(ctx context.Context, t *testing.T, cell, controlPlane, resource, version string) {
	t.Helper()
	maps := kube(t, b.rcp).CoreV1().ConfigMaps(v1alpha1.Namespace)
	text := fmt.Sprintf(`{"cell":%q,"controlPlane":%q,"time":%q,"resources":{%q:%q}}`, cell, controlPlane, time.Now().Format(time.RFC3339Nano), resource, version)
	mark := applycorev1.ConfigMap("kubecell-backup-"+cell, v1alpha1.Namespace).
		WithLabels(map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentMarks}).WithData(map[string]string{v1alpha1.MarksKey: text})
	if _, err := maps.Apply(ctx, mark, metav1.ApplyOptions{FieldManager: "backup", Force: true}); err != nil {
		t.Error(err)
	}
}

// unmark takes the marks away when the test ends, so that no other test's ledger goes by them.
func (b *bed) unmark(t *testing.T) {
	t.Cleanup(func() {
		err := kube(t, b.rcp).CoreV1().ConfigMaps(v1alpha1.Namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{},
			metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTheLedgerForgetsWhatTheBackupHas(t *testing.T) {
	b, admin := newAccountedBed(t)
	b.unmark(t)
	ns := b.namespace(t, "accounts-marks")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	names := b.oneOfEach(t, ns)
	if err := maps.Delete(t.Context(), names["cell-2"], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// A deletion has the version of a later probe in the end.
	var deleted ledger.Entry
	until(t, "the deletion has a version", func(context.Context) bool {
		entries := readLedger(t, admin, "cell-2").Entries
		i := slices.IndexFunc(entries, func(e ledger.Entry) bool { return e.Namespace == ns && e.Gone })
		if i >= 0 {
			deleted = entries[i]
		}
		return i >= 0 && deleted.Version != ""
	})
	of := func(cell string) int { return remembered(t, admin, cell, ns) }
	known := b.snapshot(t).ControlPlanes
	before := map[string]int{"cell-1": of("cell-1"), "cell-3": of("cell-3")}
	b.publish(t.Context(), t, "cell-1", known["cell-2"], "configmaps", "9999999")
	b.publish(t.Context(), t, "cell-2", known["cell-2"], "configmaps", deleted.Version) // no lower than the others'
	until(t, "the deletion is forgotten", func(context.Context) bool { return of("cell-2") == 0 })
	if of("cell-1") != before["cell-1"] {
		t.Errorf("the ledger of cell-1 goes by the mark of another control plane")
	}
	b.publish(t.Context(), t, "cell-1", known["cell-1"], "configmaps", "9999999")
	until(t, "the rest is forgotten", func(context.Context) bool { return of("cell-1") == 0 })
	if of("cell-3") != before["cell-3"] {
		t.Errorf("the ledger of cell-3 goes by the mark of another cell")
	}
	b.wantViews(t, admin)
}

// wantViews wants the admin port to tell how the router sees the cells, and the Lease to tell where it is.
func (b *bed) wantViews(t *testing.T, admin string) {
	t.Helper()
	var views router.Views
	code, body := plain(t, admin+"/cells")
	if err := json.Unmarshal([]byte(body), &views); code != http.StatusOK || err != nil {
		t.Fatalf("/cells: %d %s (%v)", code, body, err)
	}
	if len(views.Cells) != 3 || views.Epoch != b.snapshot(t).Epoch {
		t.Errorf("views %+v", views)
	}
	for _, v := range views.Cells {
		if !v.Reachable || v.LastAnswer == nil || time.Since(*v.LastAnswer) > time.Minute || v.Endpoints != 1 || v.EndpointsUp != 1 || v.GivenUp != nil {
			t.Errorf("view of %s: %+v", v.Cell, v)
		}
	}
	lease, err := kube(t, b.rcp).CoordinationV1().Leases(v1alpha1.Namespace).Get(t.Context(), views.Router, metav1.GetOptions{})
	if err != nil || lease.Annotations[v1alpha1.AnnotationAdminURL] != admin {
		t.Errorf("the Lease says that the admin port is at %q (%v); want %s", lease.Annotations[v1alpha1.AnnotationAdminURL], err, admin)
	}
	if code, _ := plain(t, admin+"/ledger"); code != http.StatusBadRequest {
		t.Errorf("/ledger of no cell: %d; want 400", code)
	}
}

// TestNoAcknowledgedWriteIsUnaccounted: while a backup publishes marks, each write that was answered is at any time in
// the ledger, or at or below the mark.
func TestNoAcknowledgedWriteIsUnaccounted(t *testing.T) {
	b, admin := newAccountedBed(t)
	b.unmark(t)
	ns := b.namespace(t, "accounts-exact")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	known := b.snapshot(t).ControlPlanes
	ctx, stop := context.WithCancel(t.Context())
	var backup sync.WaitGroup
	defer backup.Wait()
	defer stop()
	var mu sync.Mutex
	marked := map[string]string{}
	for cell, config := range b.cells {
		events, err := kube(t, config).CoreV1().ConfigMaps(ns).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		backup.Go(func() {
			defer events.Stop()
			n := 0
			for event := range events.ResultChan() {
				object, ok := event.Object.(*corev1.ConfigMap)
				if n++; !ok || n%5 != 0 || ctx.Err() != nil {
					continue // only every fifth, so that marks lag
				}
				mu.Lock()
				marked[cell] = object.ResourceVersion
				mu.Unlock()
				b.publish(context.WithoutCancel(ctx), t, cell, known[cell], "configmaps", object.ResourceVersion)
			}
		})
	}
	type write struct {
		uid, version string
		gone         bool
	}
	acknowledged := map[string]write{}
	var writers sync.WaitGroup
	for n := range 8 {
		writers.Go(func() {
			for round := range 12 {
				name := fmt.Sprintf("x-%d-%d", n, round/4)
				var done write
				if round%4 == 3 {
					if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					done = acknowledged[name]
					mu.Unlock()
					done.gone = true
				} else {
					object, err := maps.Apply(t.Context(), applycorev1.ConfigMap(name, ns).WithData(map[string]string{"n": fmt.Sprint(round)}), metav1.ApplyOptions{FieldManager: "test"})
					if err != nil {
						t.Error(err)
						return
					}
					done = write{uid: string(object.UID), version: object.ResourceVersion}
				}
				mu.Lock()
				acknowledged[name] = done
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	snap := b.snapshot(t)
	entries := b.accounts(t, admin, ns)
	mu.Lock()
	defer mu.Unlock()
	for name, w := range acknowledged {
		p, _ := snap.Table.LookupKey(ns + "/" + name)
		raw := w.version[:len(w.version)-3] // without the slot
		e, there := entries["configmaps "+name+" "+w.uid]
		covered := !w.gone && !less(marked[p.Old()], raw)
		remembered := there && e.Gone == w.gone && (w.gone || e.Version == raw)
		passed := w.gone && !there && less(raw, marked[p.Old()])
		if !covered && !remembered && !passed {
			t.Errorf("%s in %s: acknowledged %+v, the mark is at %s, the ledger has %+v", name, p.Old(), w, marked[p.Old()], e)
		}
	}
}

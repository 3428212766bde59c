package federation_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func (b *bed) add(t *testing.T, name string, i int) (federation.AddReport, error) {
	t.Helper()
	return federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[i])}, federation.Options{})
}

func TestAddWantsTheCellAndMovesNothing(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	if _, err := b.kube.CoreV1().Namespaces().Create(t.Context(), namespace("replicated"), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	cell := federation.NewCell{
		Name: "cell-3", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[2]), Weight: 200,
		Labels: map[string]string{"topology.kubernetes.io/zone": "b"}, Endpoints: []string{b.cells[2].Host},
	}
	report, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Created || !report.Change.Changed || report.Already() {
		t.Errorf("report = %+v; want created and changed", report)
	}
	ring := b.ring(t)
	if members(ring.Spec.Members) != "cell-1 cell-2 cell-3" || ring.Spec.Members[2].Weight != 200 {
		t.Errorf("wanted %+v; want cell-3 with 200", ring.Spec.Members)
	}
	if members(ring.Status.Current.Members) != "cell-1 cell-2" || ring.Status.Epoch != 1 {
		t.Errorf("status %+v; want it untouched", ring.Status)
	}
	stored, err := b.cell.Cells().Get(t.Context(), "cell-3", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if stored.Labels["topology.kubernetes.io/zone"] != "b" || !slices.Equal(stored.Spec.Endpoints, cell.Endpoints) || stored.Status.Version == "" {
		t.Errorf("cell = %+v; want label, endpoint and version", stored)
	}
	access, err := federation.Cells(t.Context(), b.rcp)
	if err != nil || access["cell-3"].Err != nil {
		t.Fatalf("stored credentials: %v, %v", err, access["cell-3"].Err)
	}
	inCell, err := kubernetes.NewForConfig(access["cell-3"].Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inCell.CoreV1().Namespaces().Get(t.Context(), "replicated", metav1.GetOptions{}); err != nil {
		t.Errorf("namespace in the new cell: %v; want it copied", err)
	}

	wantFenced(t, stored, metav1.ConditionTrue, v1alpha1.ReasonFenceInForce)
	if last := report.Checks[len(report.Checks)-1]; last != (federation.Check{Name: "fence installed"}) {
		t.Errorf("last check %+v; want the fence", last)
	}

	again, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
	if err != nil || !again.Already() {
		t.Errorf("the same again: %+v, %v; want nothing to do", again, err)
	}
	cell.Weight = 100
	_, err = federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
	wantError(t, err, exit.Refused, "weight 200 already", "kubectl cell weight cell-3 100")
}

func TestAddDryRunWritesNothing(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	before := b.ring(t).ResourceVersion
	report, err := federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1])}, federation.Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Created || members(report.Change.After.Spec.Members) != "cell-1 cell-2" {
		t.Errorf("report = %+v; want the plan", report)
	}
	cells, secrets := b.stored(t)
	if len(cells) != 1 || len(secrets) != 1 || b.ring(t).ResourceVersion != before {
		t.Errorf("after a dry run: cells %v, secrets %v, ring changed %v", cells, secrets, b.ring(t).ResourceVersion != before)
	}
}

// TestAddResumes after it was cut off before the cell was in the wanted ring, and where its credentials were lost.
func TestAddResumes(t *testing.T) {
	for _, lost := range []string{"secret", "member", "both"} {
		t.Run(lost, func(t *testing.T) {
			b := newBed(t)
			b.init(t, 1)
			if lost == "secret" {
				if _, err := b.add(t, "cell-2", 1); err != nil {
					t.Fatal(err)
				}
			} else {
				b.addCutOff(t, "cell-2", 1)
			}
			if lost != "member" {
				if err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Delete(t.Context(), "cell-cell-2", metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			report, err := b.add(t, "cell-2", 1)
			if err != nil || report.Already() || report.Drained {
				t.Fatalf("add again: %+v, %v; want it to complete", report, err)
			}
			if got := b.wanted(t); got != "cell-1 cell-2" {
				t.Errorf("wanted %q", got)
			}
			if _, secrets := b.stored(t); len(secrets) != 2 {
				t.Errorf("secrets %v; want two", secrets)
			}
			cell, err := b.cell.Cells().Get(t.Context(), "cell-2", metav1.GetOptions{})
			if _, left := cell.Annotations[federation.AnnotationJoining]; err != nil || left {
				t.Errorf("%v, annotations %v; want nothing to be left to do", err, cell.Annotations)
			}
		})
	}
}

// TestAnAdditionThatAnEarlierVersionCutOff, which did not mark the Cell, is completed where that has no slot, though it is
// cut off once more. One that was drained has a slot, and stays out, though its credentials are lost as well.
func TestAnAdditionThatAnEarlierVersionCutOff(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	forget := func(t *testing.T) {
		t.Helper()
		if err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Delete(t.Context(), "cell-cell-2", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.addCutOff(t, "cell-2", 1)
	stored, err := b.cell.Cells().Get(t.Context(), "cell-2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(stored.Annotations, federation.AnnotationJoining)
	if _, err := b.cell.Cells().Update(t.Context(), stored, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.status(t, func(s *v1alpha1.RingStatus) {
		s.Slots = slices.DeleteFunc(s.Slots, func(slot v1alpha1.RingSlot) bool { return slot.Cell == "cell-2" })
	})
	forget(t)
	b.addCutOff(t, "cell-2", 1)
	report, err := b.add(t, "cell-2", 1)
	if err != nil || !report.Change.Changed || report.Drained || b.wanted(t) != "cell-1 cell-2" {
		t.Fatalf("%+v, %v, wanted %q; want it completed", report, err, b.wanted(t))
	}
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	b.status(t, left("cell-2"))
	forget(t)
	if report, err := b.add(t, "cell-2", 1); err != nil || !report.Drained || b.wanted(t) != "cell-1" {
		t.Errorf("one that was drained: %+v, %v, wanted %q; want it left out", report, err, b.wanted(t))
	}
}

// addCutOff stores a cell, and fails to make it a member.
func (b *bed) addCutOff(t *testing.T, name string, i int) {
	t.Helper()
	way := sandboxtest.Proxy(t, b.rcp, func(w http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/rings/default") || r.URL.Query().Has("dryRun") {
			return false
		}
		http.Error(w, "cut off", http.StatusInternalServerError)
		return true
	})
	_, err := federation.AddCell(t.Context(), way, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[i])}, federation.Options{})
	if cells, _ := b.stored(t); err == nil || !slices.Contains(cells, name) || strings.Contains(b.wanted(t), name) {
		t.Fatalf("cut off: %v, cells %v, wanted %q", err, cells, b.wanted(t))
	}
}

func TestAddRenewsCredentialsOfTheSameControlPlane(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	renamed := sandboxtest.Kubeconfig(t, b.cells[0], func(c *clientcmdapi.Config) {
		c.Clusters["it"].Server = strings.Replace(c.Clusters["it"].Server, "127.0.0.1", "localhost", 1)
	})
	report, err := federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: "cell-1", Kubeconfig: renamed}, federation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Updated || report.Change.Changed {
		t.Errorf("report = %+v; want updated, ring unchanged", report)
	}
	secret, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), "cell-cell-1", metav1.GetOptions{})
	if err != nil || string(secret.Data[v1alpha1.KubeconfigKey]) != string(renamed) {
		t.Errorf("stored kubeconfig was not replaced (%v)", err)
	}
}

func TestAddRefuses(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	fenced := b.ring(t)
	fenced.Status.Unavailable = []string{"cell-dead"}
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), fenced, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(*clientcmdapi.Config)) []byte { return sandboxtest.Kubeconfig(t, b.cells[1], f) }
	good := sandboxtest.Kubeconfig(t, b.cells[1])
	before := b.ring(t).ResourceVersion
	for name, test := range map[string]struct {
		cell  federation.NewCell
		code  exit.Code
		words []string
	}{
		"name": {federation.NewCell{Name: "Cell_2", Kubeconfig: good}, exit.Usage, []string{"63 characters a-z"}},
		"weight -1": {
			federation.NewCell{Name: "cell-2", Kubeconfig: good, Weight: -1}, exit.Usage, []string{"1 to 1000"},
		},
		"weight 1001": {
			federation.NewCell{Name: "cell-2", Kubeconfig: good, Weight: 1001}, exit.Usage, []string{"1 to 1000"},
		},
		"label": {
			federation.NewCell{Name: "cell-2", Kubeconfig: good, Labels: map[string]string{"a b": "c"}}, exit.Usage, []string{"a b"},
		},
		"endpoint": {
			federation.NewCell{Name: "cell-2", Kubeconfig: good, Endpoints: []string{"http://x"}}, exit.Usage, []string{"https://"},
		},
		"garbage": {federation.NewCell{Name: "cell-2", Kubeconfig: []byte("\tgarbage: [")}, exit.Usage, []string{"parse kubeconfig"}},
		"exec": {
			federation.NewCell{Name: "cell-2", Kubeconfig: edit(func(c *clientcmdapi.Config) {
				c.AuthInfos["it"].Exec = &clientcmdapi.ExecConfig{Command: "true", APIVersion: "client.authentication.k8s.io/v1"}
			})}, exit.Usage, []string{"runs a program", "create token"},
		},
		"nobody listens": {
			federation.NewCell{Name: "cell-2", Kubeconfig: edit(func(c *clientcmdapi.Config) { c.Clusters["it"].Server = "https://127.0.0.1:1" })},
			exit.Failure, []string{"cannot be reached", "127.0.0.1:1"},
		},
		"wrong CA": {
			federation.NewCell{Name: "cell-2", Kubeconfig: edit(func(c *clientcmdapi.Config) {
				c.Clusters["it"].CertificateAuthorityData = b.caData(t, 0)
			})}, exit.Failure, []string{"certificate", "certificate-authority-data"},
		},
		"wrong credentials": {
			federation.NewCell{Name: "cell-2", Kubeconfig: edit(func(c *clientcmdapi.Config) {
				c.AuthInfos["it"] = &clientcmdapi.AuthInfo{Token: "nonsense"}
			})}, exit.Failure, []string{"does not accept the credentials", "auth whoami"},
		},
		"the RCP itself": {
			federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.rcp)}, exit.Refused, []string{"router control plane itself"},
		},
		"a control plane twice": {
			federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[0])}, exit.Refused, []string{"cell-1 would be the same control plane"},
		},
		"a name twice": {
			federation.NewCell{Name: "cell-1", Kubeconfig: good}, exit.Refused, []string{"cell-1 already", "another control plane"},
		},
		"two control planes in one": {
			federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1], func(c *clientcmdapi.Config) {
				c.Clusters["it"].InsecureSkipTLSVerify, c.Clusters["it"].CertificateAuthorityData = true, nil
			}), Endpoints: []string{b.cells[1].Host, b.cells[2].Host}}, exit.Failure, []string{b.cells[2].Host},
		},
		"failed over": {federation.NewCell{Name: "cell-dead", Kubeconfig: good}, exit.Refused, []string{"failed over"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := federation.AddCell(t.Context(), b.rcp, test.cell, federation.Options{})
			wantError(t, err, test.code, test.words...)
			cells, secrets := b.stored(t)
			if len(cells) != 1 || len(secrets) != 1 || b.ring(t).ResourceVersion != before {
				t.Errorf("left behind: cells %v, secrets %v, ring changed %v", cells, secrets, b.ring(t).ResourceVersion != before)
			}
		})
	}
}

// TestAddRefusesACellThatIsTooOld, by its version alone, before anything else is asked of it.
// TestAddNamesWhatIsNotOfTheFederation: a cell that is to join has to be rid of it first; one that is there is used.
func TestAddNamesWhatIsNotOfTheFederation(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	for i := range 2 {
		client, err := kubernetes.NewForConfig(b.cells[i])
		if err != nil {
			t.Fatal(err)
		}
		lost := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: "lost", Annotations: map[string]string{v1alpha1.AnnotationReplicatedFrom: "2b4f0e3c-0000-4000-8000-000000000000"},
		}}
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.CoreV1().Namespaces().Delete(context.Background(), "lost", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	report, err := b.add(t, "cell-1", 0)
	if err != nil {
		t.Errorf("a member: %v", err)
	}
	if !slices.ContainsFunc(report.Checks, func(c federation.Check) bool {
		return c.Name == "replicated" && c.Warning && strings.Contains(c.Detail, "namespaces lost")
	}) {
		t.Errorf("checks of a member: %+v; want what is lost to be named", report.Checks)
	}
	if _, err := b.add(t, "cell-2", 1); exit.CodeOf(err) != exit.Partial || !strings.Contains(err.Error(), "namespaces lost") {
		t.Errorf("a cell that is to join: %v; want it refused by name", err)
	}
}

func TestAddRefusesACellThatIsTooOld(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	before := b.ring(t).ResourceVersion
	var said atomic.Value
	var others atomic.Int64
	way := sandboxtest.Proxy(t, b.cells[1], func(w http.ResponseWriter, r *http.Request) (answered bool) {
		if r.URL.Path != "/version" {
			others.Add(1)
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"gitVersion":%q}`, said.Load())
		return true
	})
	cell := federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, way)}
	for _, dryRun := range []bool{true, false} {
		for _, version := range []string{"v1.29.14", "v1.30.0-rc.2", "v0.9", "unknown"} {
			said.Store(version)
			_, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{DryRun: dryRun})
			wantError(t, err, exit.Refused, "cell cell-2 runs Kubernetes "+version+"; it must be 1.30.0 or newer", "upgrade the control plane")
		}
	}
	cells, secrets := b.stored(t)
	if len(cells) != 1 || len(secrets) != 1 || b.ring(t).ResourceVersion != before || others.Load() != 0 {
		t.Errorf("left behind: cells %v, secrets %v, ring changed %v; asked of the cell beside its version: %d requests",
			cells, secrets, b.ring(t).ResourceVersion != before, others.Load())
	}
	for _, version := range []string{"v1.30.0", "v1.30.4-eks-036c24b"} {
		said.Store(version)
		if _, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{DryRun: true}); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestAddNeedsRights(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	inCell, err := kubernetes.NewForConfig(b.cells[1])
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "weak", Namespace: "default"}}
	if _, err := inCell.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := inCell.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "weak", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	weak := federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1], func(c *clientcmdapi.Config) {
		c.AuthInfos["it"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	})}
	_, err = federation.AddCell(t.Context(), b.rcp, weak, federation.Options{})
	wantError(t, err, exit.Refused, "may not use it", "cluster-admin")

	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "weak"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "weak"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "weak", Namespace: "default"}},
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "weak"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
	}}
	if _, err := inCell.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := inCell.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The apiserver learns of the binding by a watch; until then the refusal is the first one.
	for err == nil || !strings.Contains(err.Error(), "impersonate") {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		_, err = federation.AddCell(t.Context(), b.rcp, weak, federation.Options{})
	}
	wantError(t, err, exit.Refused, "impersonate users", "create *", "bind clusterroles", "escalate clusterroles")
	if strings.Contains(err.Error(), "get *") {
		t.Errorf("%v: names a right that is there", err)
	}
}

func (b *bed) caData(t *testing.T, i int) []byte {
	t.Helper()
	config := rest.CopyConfig(b.cells[i])
	if err := rest.LoadTLSFiles(config); err != nil {
		t.Fatal(err)
	}
	return config.CAData
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

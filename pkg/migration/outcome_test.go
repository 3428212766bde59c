package migration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// TestAnObjectThatIsBeingDeletedIsLeftToFinish, and its unit with it, whenever that is noticed.
func TestAnObjectThatIsBeingDeletedIsLeftToFinish(t *testing.T) {
	for _, noticed := range []string{"when found", "at the mark"} {
		t.Run(noticed, func(t *testing.T) {
			b := newBed(t)
			first := b.make(b.old, configMaps, `metadata: {name: a}`)
			second := b.make(b.old, secrets, `metadata: {name: a, finalizers: [example.com/hold]}`)
			unit := b.unit(b.found(configMaps, first), b.found(secrets, second))
			if err := b.in(b.old, secrets).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			second = b.get(b.old, secrets, "a")
			if noticed == "when found" {
				unit.Objects[1] = b.found(secrets, second)
			}
			if result := b.move(unit, migration.Deferred); result.Begun || !result.Retryable() {
				t.Errorf("result %+v", result)
			}
			b.untouched(configMaps, first)
			b.untouched(secrets, second)
		})
	}
}

// TestWhatWasDeletedIsGone and leaves no copy, before the mark and between any two steps.
func TestWhatWasDeletedIsGone(t *testing.T) {
	for _, at := range []migration.StepName{"", migration.Marked, migration.Created, migration.Verified} {
		t.Run("at"+string(at), func(t *testing.T) {
			b := newBed(t)
			unit := b.unit(b.found(configMaps, b.make(b.old, configMaps, `metadata: {name: a}`)))
			remove := func() {
				if err := b.in(b.old, configMaps).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}
			mover := b.mover()
			mover.Step = func(s migration.Step) {
				if s.Name == at {
					remove()
				}
			}
			if at == "" {
				remove()
			}
			if result := mover.Move(t.Context(), unit); result.Outcome != migration.Gone || !result.Done() {
				t.Errorf("result %+v", result)
			}
			b.awaitAbsent(b.new, configMaps, "a")
		})
	}
}

// TestAForeignObjectIsNotOverwritten, and nothing of its unit moves.
func TestAForeignObjectIsNotOverwritten(t *testing.T) {
	b := newBed(t)
	first := b.make(b.old, secrets, `metadata: {name: a}`)
	second := b.make(b.old, configMaps, `{metadata: {name: a}, data: {of: old}}`)
	foreign := b.make(b.new, configMaps, `{metadata: {name: a}, data: {of: new}}`)
	result := b.move(b.unit(b.found(secrets, first), b.found(configMaps, second)), migration.Exists)
	if result.Object == nil || result.Object.Resource.Resource != "configmaps" || result.Begun {
		t.Errorf("result %+v", result)
	}
	b.untouched(secrets, first)
	if diff := same(second, b.get(b.old, configMaps, "a")); diff != "" {
		t.Errorf("the old cell's (-before +after):\n%s", diff)
	}
	if now := b.get(b.new, configMaps, "a"); now.GetResourceVersion() != foreign.GetResourceVersion() {
		t.Errorf("the foreign one was written: %v", now)
	}
}

// TestAForeignObjectIsFoundInItsPlace, where the one of its name has not moved; what has moved is none, and what is alone is
// in nobody's place.
func TestAForeignObjectIsFoundInItsPlace(t *testing.T) {
	b := newBed(t)
	b.make(b.old, configMaps, `metadata: {name: a}`)
	b.make(b.new, configMaps, `metadata: {name: a}`)
	b.make(b.old, secrets, `metadata: {name: a}`)
	moved := b.make(b.old, configMaps, `metadata: {name: b}`)
	b.move(b.unit(b.found(configMaps, moved)), migration.Moved)
	b.make(b.old, secrets, `metadata: {name: b}`)
	b.make(b.new, configMaps, `metadata: {name: c}`)
	var taken []string
	objects := 0
	for _, unit := range b.units(snapshot(t, []string{"old"}, []string{"new"})).Units {
		for _, o := range unit.Objects {
			if objects++; o.Taken {
				taken = append(taken, o.String())
			}
		}
	}
	if want := "configmaps " + b.namespace + "/a"; len(taken) != 1 || taken[0] != want || objects != 4 {
		t.Errorf("of %d objects the places of %v are taken; want that of %s, of 4", objects, taken, want)
	}
}

// TestAQuotaRefuses with its own words.
func TestAQuotaRefuses(t *testing.T) {
	b := newBed(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}
	if _, err := b.new.kube.CoreV1().ResourceQuotas(b.namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		q, err := b.new.kube.CoreV1().ResourceQuotas(b.namespace).Get(ctx, "none", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	other := b.make(b.old, configMaps, `metadata: {name: a}`)
	secret := b.make(b.old, secrets, `metadata: {name: a}`)
	result := b.move(b.unit(b.found(configMaps, other), b.found(secrets, secret)), migration.Refused)
	if !strings.Contains(result.Message, "exceeded quota: none") || !strings.Contains(result.Message, "cell new") {
		t.Errorf("message %q", result.Message)
	}
	b.untouched(configMaps, other)
	b.untouched(secrets, secret)
}

// TestAdmissionRefuses or changes a copy.
func TestAdmissionRefuses(t *testing.T) {
	b := newBed(t)
	b.admit(t, "refuse", "object.metadata.name != 'refused'")
	before := b.make(b.old, configMaps, `metadata: {name: refused}`)
	result := b.move(b.unit(b.found(configMaps, before)), migration.Refused)
	if !strings.Contains(result.Message, "ValidatingAdmissionPolicy") {
		t.Errorf("message %q", result.Message)
	}
	b.untouched(configMaps, before)
}

// TestARefusalOfACellThatStartsIsNotBelieved: its RBAC, definitions and admission come one after the other. Here the cell
// refuses in earnest, and says for a while that it is not ready.
func TestARefusalOfACellThatStartsIsNotBelieved(t *testing.T) {
	b := newBed(t)
	b.admit(t, "starting", "object.metadata.name != 'refused'")
	before := b.make(b.old, configMaps, `metadata: {name: refused}`)
	unit := b.unit(b.found(configMaps, before))
	var starting atomic.Bool
	starting.Store(true)
	config := fence.AsMover(b.new.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil && r.URL.Path == "/readyz" && starting.Load() {
				answer.StatusCode = http.StatusInternalServerError
			}
			return answer, err
		})
	})
	if _, err := migration.Connect("new", config); err == nil || !strings.Contains(err.Error(), "cell new is not ready") {
		t.Errorf("connected to a cell that starts: %v", err)
	}
	starting.Store(false)
	cell, err := migration.Connect("new", config)
	if err != nil {
		t.Fatal(err)
	}
	b.cells["new"] = cell
	starting.Store(true)
	result := b.move(unit, migration.Unavailable)
	if !result.Retryable() || !strings.Contains(result.Message, "cell new is starting") || !strings.Contains(result.Message, "ValidatingAdmissionPolicy") {
		t.Errorf("result %+v", result)
	}
	b.untouched(configMaps, before)
	starting.Store(false)
	b.move(unit, migration.Refused)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWhatDefaultsChangeIsNamed, by a definition that has a default in the new cell alone.
func TestWhatDefaultsChangeIsNamed(t *testing.T) {
	b := newBed(t)
	widgets := b.define(t, "widgets", "")
	_ = b.defineIn(t, b.new, "widgets", `, default: blue`, "v1", "")
	before := b.make(b.old, widgets, `{metadata: {name: a}, spec: {size: 3}, status: {seen: true}}`)
	result := b.move(b.unit(b.found(widgets, before)), migration.Changed)
	if !strings.Contains(result.Message, "spec.colour") {
		t.Errorf("message %q", result.Message)
	}
	b.untouched(widgets, before)
}

// TestCustomResources move with their status; rules of their definition refuse where they do not hold.
func TestCustomResources(t *testing.T) {
	b := newBed(t)
	gears := b.define(t, "gears", "self.size > 2")
	before := b.make(b.old, gears, `{metadata: {name: a}, spec: {size: 3}, status: {seen: true}}`)
	b.move(b.unit(b.found(gears, before)), migration.Moved)
	if diff := same(before, b.get(b.new, gears, "a")); diff != "" {
		t.Errorf("moved (-old +new):\n%s", diff)
	}
	// The old cell's rule is weaker.
	b.defineIn(t, b.new, "gears", "", "v1", "self.size > 9")
	before = b.make(b.old, gears, `{metadata: {name: b}, spec: {size: 4}}`)
	result := b.move(b.unit(b.found(gears, before)), migration.Refused)
	if !strings.Contains(result.Message, "self.size > 9") {
		t.Errorf("message %q", result.Message)
	}
	b.untouched(gears, before)
}

// TestAVersionThatTheNewCellDoesNotServe stays where it is; so does a kind that it does not know at all.
func TestAVersionThatTheNewCellDoesNotServe(t *testing.T) {
	b := newBed(t)
	cogs := b.defineIn(t, b.old, "cogs", "", "v2", "")
	b.defineIn(t, b.new, "cogs", "", "v1", "")
	nuts := b.defineIn(t, b.old, "nuts", "", "v1", "")
	b.connect()
	for _, k := range []kind{cogs, nuts} {
		before := b.make(b.old, k, `{metadata: {name: a}, spec: {size: 3}}`)
		b.move(b.unit(b.found(k, before)), migration.NoKind)
		if diff := same(before, b.get(b.old, k, "a")); diff != "" {
			t.Errorf("after the undo (-before +after):\n%s", diff)
		}
	}
}

// TestAnObjectAtTheLimitOfItsStore is told from others, at the mark and at the copy, and stays as it is.
func TestAnObjectAtTheLimitOfItsStore(t *testing.T) {
	const limit = 1536 << 10 // etcd's, of a whole request
	const ample = 150 << 10
	b := newBed(t)
	outcomes := map[migration.Outcome]bool{}
	for _, spare := range []int{ample, 1300, 900, 500} {
		name := fmt.Sprintf("a-%d", spare)
		// A Secret may have 1 MiB of data, an annotation 256 KiB, labels what they like.
		text, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"name": name, "annotations": map[string]string{"a": strings.Repeat("x", 200<<10)}},
			"spec":     map[string]any{"externalName": strings.Repeat("y", limit-(200<<10)-spare)},
		})
		if err != nil {
			t.Fatal(err)
		}
		k := b.define(t, "slabs", "")
		before := b.make(b.old, k, string(text))
		companion := b.make(b.old, configMaps, `metadata: {name: `+name+`}`)
		result := b.mover().Move(t.Context(), b.unit(b.found(configMaps, companion), b.found(k, before)))
		outcomes[result.Outcome] = true
		if result.Outcome == migration.Moved {
			after := b.get(b.new, k, name)
			if spare < ample { // the apiserver drops managedFields by itself where they do not fit: docs/migration.md
				before.SetManagedFields(nil)
				after.SetManagedFields(nil)
			}
			if diff := same(before, after); diff != "" {
				t.Errorf("with %d bytes to spare it moved, and is another one (-before +after):\n%.2000s", spare, diff)
			}
			if status := b.get(b.old, k, name).GetLabels()[v1alpha1.LabelRebalanceStatus]; status != string(v1alpha1.Migrated) {
				t.Errorf("with %d bytes to spare it moved, and the old one is %q", spare, status)
			}
			continue
		}
		if result.Outcome != migration.TooLarge || result.Begun || spare == ample {
			t.Errorf("with %d bytes to spare: %+v", spare, result)
		}
		b.untouched(configMaps, companion)
		b.untouched(k, before)
	}
	if !outcomes[migration.Moved] || !outcomes[migration.TooLarge] {
		t.Errorf("outcomes %v", outcomes)
	}
}

// TestOwnersOutsideTheUnit are those of the same name in the new cell, or missing.
func TestOwnersOutsideTheUnit(t *testing.T) {
	b := newBed(t)
	accounts := sharded("", "v1", "serviceaccounts", "ServiceAccount", false)
	oldOwner := b.make(b.old, accounts, `metadata: {name: o}`)
	b.make(b.old, configMaps, `metadata: {name: a}`)
	owners, _ := json.Marshal([]metav1.OwnerReference{ownerRef(accounts, oldOwner)})
	before := b.patch(b.old, configMaps, "a", `{"metadata":{"ownerReferences":`+string(owners)+`}}`)
	result := b.move(b.unit(b.found(configMaps, before)), migration.OwnerMissing)
	if !strings.Contains(result.Message, "ServiceAccount o") {
		t.Errorf("message %q", result.Message)
	}
	b.untouched(configMaps, before)

	newOwner := b.make(b.new, accounts, `metadata: {name: o}`)
	b.move(b.unit(b.found(configMaps, b.get(b.old, configMaps, "a"))), migration.Moved)
	if got := b.get(b.new, configMaps, "a").GetOwnerReferences(); len(got) != 1 || got[0].UID != newOwner.GetUID() {
		t.Errorf("owners %v, want %v", got, newOwner.GetUID())
	}
}

// TestACircleOfOwnersIsRefused before anything is written.
func TestACircleOfOwnersIsRefused(t *testing.T) {
	b := newBed(t)
	one := b.make(b.old, configMaps, `metadata: {name: a}`)
	two := b.make(b.old, secrets, `metadata: {name: a}`)
	set := func(k kind, owner metav1.OwnerReference) {
		owners, _ := json.Marshal([]metav1.OwnerReference{owner})
		b.patch(b.old, k, "a", `{"metadata":{"ownerReferences":`+string(owners)+`}}`)
	}
	set(configMaps, ownerRef(secrets, two))
	set(secrets, ownerRef(configMaps, one))
	one, two = b.get(b.old, configMaps, "a"), b.get(b.old, secrets, "a")
	result := b.move(b.unit(b.found(configMaps, one), b.found(secrets, two)), migration.Cycle)
	for _, member := range []string{"secrets ", "configmaps "} {
		if !strings.Contains(result.Message, member) {
			t.Errorf("message %q", result.Message)
		}
	}
	b.untouched(configMaps, one)
	b.untouched(secrets, two)
}

// TestACellThatDoesNotAnswer is worth another attempt, which finishes what the first one began.
func TestACellThatDoesNotAnswer(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `{metadata: {name: a}, data: {a: b}}`)
	ctx, cancel := context.WithCancel(t.Context())
	b.requests.before = func(_ string, r *http.Request) {
		if r.Method == http.MethodPost {
			cancel()
		}
	}
	result := b.mover().Move(ctx, b.unit(b.found(configMaps, before)))
	b.requests.before = nil
	if result.Outcome != migration.Unavailable || !result.Begun || !result.Retryable() {
		t.Errorf("result %+v", result)
	}
	b.move(b.unit(b.found(configMaps, before)), migration.Moved) // as it was found the first time
	if diff := same(before, b.get(b.new, configMaps, "a")); diff != "" {
		t.Errorf("moved (-old +new):\n%s", diff)
	}
}

// TestAMarkThatIsOnItsWayIsWaitedFor by a move that is ended: the cell carries out what it has received, and whoever takes the
// unit back would find nothing yet.
func TestAMarkThatIsOnItsWayIsWaitedFor(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `{metadata: {name: a}, data: {a: b}}`)
	ctx, cancel := context.WithCancel(t.Context())
	arrive := make(chan struct{})
	var late sync.WaitGroup
	config := fence.AsMover(b.old.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch {
				cancel()
			}
			if r.Context().Err() == nil {
				return next.RoundTrip(r)
			}
			late.Go(func() {
				<-arrive
				answer, err := next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
				if err != nil {
					t.Error(err)
					return
				}
				_ = answer.Body.Close()
			})
			return nil, r.Context().Err()
		})
	})
	cell, err := migration.Connect("old", config)
	if err != nil {
		t.Fatal(err)
	}
	b.cells["old"] = cell
	unit := b.unit(b.found(configMaps, before))
	if result := b.mover().Move(ctx, unit); result.Outcome != migration.Unavailable || !result.Begun {
		t.Errorf("result %+v", result)
	}
	if err := b.mover().Undo(t.Context(), unit); err != nil {
		t.Error(err)
	}
	close(arrive)
	late.Wait()
	b.untouched(configMaps, before)
}

// define makes a definition with one version in both cells.
func (b *bed) define(t *testing.T, plural, rule string) kind {
	b.defineIn(t, b.new, plural, "", "v1", rule)
	return b.defineIn(t, b.old, plural, "", "v1", rule)
}

// admit installs a policy for this test's namespace in the new cell, and waits until it is in force.
func (b *bed) admit(t *testing.T, name, expression string) {
	t.Helper()
	client := b.new.kube.AdmissionregistrationV1()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: expression}},
		},
	}
	if _, err := client.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": b.namespace}}},
		},
	}
	if _, err := client.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	probe := b.parse(configMaps, `metadata: {name: refused}`)
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := b.in(b.new, configMaps).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil, nil
	})
	if err != nil {
		t.Fatal("the policy does not come into force")
	}
}

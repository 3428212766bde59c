package router_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

func TestADeletedCollectionIsWhatItsListShows(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "delcoll")
	names := b.fill(t, ns, 12)
	// A copy in a cell that the map does not name is never shown, and never deleted.
	snap := b.snapshot(t)
	p, _ := snap.Table.LookupKey(ns + "/leftover")
	var hiding string
	for cell, config := range b.cells {
		if cell != p.Old() && hiding == "" {
			hiding = cell
			leftover := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "leftover", Labels: map[string]string{"parity": "odd"}}}
			if _, err := kube(t, config).CoreV1().ConfigMaps(ns).Create(t.Context(), leftover, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	odd := metav1.ListOptions{LabelSelector: "parity=odd"}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, odd); err != nil {
		t.Fatal(err)
	}
	if list, err := maps.List(t.Context(), odd); err != nil || len(list.Items) != 6 {
		t.Fatalf("after a dry run: %d, %v; want 6", len(list.Items), err)
	}
	var deleted corev1.ConfigMapList
	err := kube(t, b.router).CoreV1().RESTClient().Delete().Namespace(ns).Resource("configmaps").
		Param("labelSelector", "parity=odd").Do(t.Context()).Into(&deleted)
	if err != nil || len(deleted.Items) != 6 || deleted.Items[0].Name != names[1] {
		t.Errorf("answer has %d items, %v; want the 6 that were deleted", len(deleted.Items), err)
	}
	list, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity"})
	if err != nil || len(list.Items) != 6 {
		t.Errorf("%d are left, %v; want the 6 even ones", len(list.Items), err)
	}
	if _, err := kube(t, b.cells[hiding]).CoreV1().ConfigMaps(ns).Get(t.Context(), "leftover", getOptions()); err != nil {
		t.Errorf("the leftover is gone: %v", err)
	}
}

func TestADeletionIsRefusedAsTheAPIServerDoes(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "delcollbad")
	b.fill(t, ns, 3)
	policy := metav1.DeletionPropagation("Sideways")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: &policy}, metav1.ListOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("unknown propagation: %v; want invalid", err)
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "=="}); !apierrors.IsBadRequest(err) {
		t.Errorf("bad selector: %v; want bad request", err)
	}
	if err := kube(t, b.router).CoreV1().ConfigMaps("").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("over all namespaces: %v; want method not supported", err)
	}
	config := rest.CopyConfig(b.router)
	config.Impersonate = rest.ImpersonationConfig{UserName: "reader"}
	allow(t, b, ns, "reader", "list", "deletecollection")
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		err := kube(t, config).CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "parity"})
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "deleted 0 of 3 objects"), nil
	})
	if err != nil {
		t.Errorf("without the right to delete: %v", err)
	}
	if list, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity"}); err != nil || len(list.Items) != 3 {
		t.Errorf("after refusals: %d, %v; want all 3", len(list.Items), err)
	}
}

// allow lets a user do verbs with config maps.
func allow(t *testing.T, b *bed, ns, user string, verbs ...string) {
	t.Helper()
	rbac := kube(t, b.router).RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs}}}
	if _, err := rbac.Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}}
	if _, err := rbac.RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestADeletionTellsWhichCellFails(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "delcolldead")
	b.fill(t, ns, 12)
	b.breakCell(t, "cell-2")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := maps.List(ctx, metav1.ListOptions{})
		return apierrors.IsServiceUnavailable(err), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "cell-2") {
		t.Errorf("%v; want %d that names cell-2", err, http.StatusServiceUnavailable)
	}
}

// TestADeletionTellsHowFarItCame where a cell goes away in the middle; asked again, it goes on.
func TestADeletionTellsHowFarItCame(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "delcollhalf")
	names := b.oneOfEach(t, ns)
	b.fillCell(t, "cell-2", ns, 100)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	gate := b.gate(t, "cell-2", maps, names["cell-2"])
	gate.Slow(200 * time.Millisecond) // each of a hundred deletions, eight at once
	direct := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns)
	deletions, err := direct.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer deletions.Stop()
	ended := make(chan error, 1)
	go func() {
		ended <- maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	}()
	for event := range deletions.ResultChan() {
		if event.Type == watch.Deleted {
			break
		}
	}
	gate.Refuse()
	err = <-ended
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "cell-2") || !regexp.MustCompile(`deleted \d+ of 11\d objects`).MatchString(err.Error()) {
		t.Errorf("%v; want 503 that names cell-2 and says how many are deleted", err)
	}
	if left, err := direct.List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) < 2 {
		t.Errorf("cell-2 has %d left, %v; want it to have been cut off in the middle", len(left.Items), err)
	}
	gate.Slow(0)
	gate.Pass()
	until(t, "the rest to be deleted", func(ctx context.Context) bool {
		return maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}) == nil
	})
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil || slices.ContainsFunc(list.Items, func(m corev1.ConfigMap) bool { return m.Name != rootCA }) {
		t.Errorf("%d are left, %v", len(list.Items), err)
	}
}

// fillCell makes so many config maps that one cell owns, past the router.
func (b *bed) fillCell(t *testing.T, cell, ns string, n int) {
	t.Helper()
	snap, maps := b.snapshot(t), kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns)
	for i := 0; n > 0; i++ {
		name := fmt.Sprintf("of-%s-%d", cell, i)
		if p, _ := snap.Table.LookupKey(ns + "/" + name); p.Old() != cell {
			continue
		}
		if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		n--
	}
}

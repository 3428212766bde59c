package router_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// limit makes a quota through the router.
func limitNamespace(t *testing.T, client kubernetes.Interface, ns string, hard corev1.ResourceList) {
	t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if _, err := client.CoreV1().ResourceQuotas(ns).Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func makeConfigMap(ctx context.Context, client kubernetes.Interface, ns, name string) error {
	_, err := client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

// used is what the router shows, once it is what is wanted.
func awaitUsed(t *testing.T, client kubernetes.Interface, ns string, name corev1.ResourceName, want string) {
	t.Helper()
	got := ""
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		q, err := client.CoreV1().ResourceQuotas(ns).Get(ctx, "q", getOptions())
		if err != nil {
			return false, err
		}
		used := q.Status.Used[name]
		got = used.String()
		return got == want, nil
	})
	if err != nil {
		t.Fatalf("used of %s is %s, want %s: %v", name, got, want, err)
	}
}

// awaitRootCAs waits until each cell has made its own in a new namespace: its room is kept, and before it is taken another
// object fits in.
func (b *bed) awaitRootCAs(t *testing.T, ns string) {
	t.Helper()
	for cell, config := range b.cells {
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := maps.Get(ctx, "kube-root-ca.crt", getOptions())
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			t.Fatalf("root CA of %s: %v", cell, err)
		}
	}
}

// TestAQuotaIsOneForAllCells: whatever is left of it can be had by any name, in whichever cell that is, from two
// routers at once, and not one more; and the router shows the sum. The root CA that each cell has counts once.
func TestAQuotaIsOneForAllCells(t *testing.T) {
	b := newBed(t)
	other := runRouter(t, b.rcp, t.TempDir())
	ns := b.namespace(t, "quota")
	clients := []kubernetes.Interface{kube(t, b.router), kube(t, other)}
	b.awaitRootCAs(t, ns)
	const whole = 7 // the root CA is one of them
	limitNamespace(t, clients[0], ns, corev1.ResourceList{corev1.ResourceConfigMaps: *resource.NewQuantity(whole, resource.DecimalSI)})
	awaitUsed(t, clients[0], ns, corev1.ResourceConfigMaps, "1")

	var made, refused sync.Map
	var working sync.WaitGroup
	for worker := range 4 {
		working.Go(func() {
			for i := range 4 {
				name := fmt.Sprintf("m-%d-%d", worker, i)
				if err := makeConfigMap(t.Context(), clients[worker%2], ns, name); err != nil {
					refused.Store(name, err)
				} else {
					made.Store(name, true)
				}
			}
		})
	}
	working.Wait()
	count := 0
	made.Range(func(any, any) bool { count++; return true })
	if count != whole-1 {
		t.Errorf("%d were made beside the root CA, of %d", count, whole)
	}
	refused.Range(func(name, err any) bool {
		if !apierrors.IsForbidden(err.(error)) || !strings.Contains(err.(error).Error(), "exceeded quota: q, requested: configmaps=1, used: configmaps=7, limited: configmaps=7") {
			t.Errorf("%s: %v; want it refused with the numbers of all cells", name, err)
		}
		return true
	})
	awaitUsed(t, clients[1], ns, corev1.ResourceConfigMaps, "7")

	// One that goes makes room for one of another name, wherever that is.
	victim := ""
	made.Range(func(name, _ any) bool { victim = name.(string); return false })
	if err := clients[0].CoreV1().ConfigMaps(ns).Delete(t.Context(), victim, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitUsed(t, clients[0], ns, corev1.ResourceConfigMaps, "6")
	for i := range 3 {
		err := makeConfigMap(t.Context(), clients[0], ns, fmt.Sprint("again-", i))
		if (err == nil) != (i == 0) {
			t.Errorf("again-%d: %v; want room for exactly one", i, err)
		}
	}
	// A larger whole is enough at once.
	patch := []byte(`{"spec":{"hard":{"configmaps":"8"}}}`)
	if _, err := clients[0].CoreV1().ResourceQuotas(ns).Patch(t.Context(), "q", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := makeConfigMap(t.Context(), clients[0], ns, "the-eighth"); err != nil {
		t.Errorf("after the quota was raised: %v", err)
	}
}

// TestAQuotaOfOne is no smaller through the router: each of many names can be the one, in both encodings.
func TestAQuotaOfOne(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "quota-one")
	protobuf := rest.CopyConfig(b.router)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	clients := []kubernetes.Interface{kube(t, b.router), kube(t, protobuf)}
	limitNamespace(t, clients[0], ns, corev1.ResourceList{"count/secrets": resource.MustParse("1")})
	for i := range 8 {
		secrets := clients[i%2].CoreV1().Secrets(ns)
		name := fmt.Sprint("only-", i)
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			// The cell of the one before counts it for a moment after it is gone, as any apiserver does.
			_, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			if err != nil && i == 0 {
				return false, err
			}
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "more-"}}, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("one more beside %s: %v", name, err)
		}
		if err := secrets.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

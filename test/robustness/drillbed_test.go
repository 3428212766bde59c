package robustness

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// drillBed is a federation in which drills follow one another.
type drillBed struct {
	*traffic
	// exhibits are there from the first drill on.
	exhibits []exhibit
}

func newDrillBed(t *testing.T) *drillBed {
	t.Helper()
	return &drillBed{traffic: &traffic{bed: newBed(t, drillCells), keys: allKeys(*drillNames)}}
}

// restartBackup ends the daemon as a crash would, and starts it.
func (b *bed) restartBackup() {
	b.t.Helper()
	b.end(b.backupSpec().LockPath, syscall.SIGKILL)
	b.start(b.backupSpec())
}

// impatient has clients come back at once with what could not be done: none of them may wait for a dead cell. That it
// was not done is in the answer still.
func (b *bed) impatient() {
	b.t.Helper()
	for i := range b.through {
		config := b.routerConfig(i)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return withoutRetries{next} })
		b.through[i].client = dynamicFor(b.t, config)
	}
}

// routerConfig is the access through a router, as an administrator.
func (b *bed) routerConfig(i int) *rest.Config {
	b.t.Helper()
	config := rest.CopyConfig(b.box.Router(b.t))
	config.Host = b.hosts[i]
	return config
}

// withoutRetries takes the time to come again out of the header of what is unavailable, which client-go goes by.
type withoutRetries struct{ next http.RoundTripper }

func (w withoutRetries) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.next.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
		answer.Header.Del("Retry-After")
	}
	return answer, err
}

// protect has the ring protect the objects that say so, and waits until both routers go by it. No daemon must run: the
// copy of a write that is protected is what the router itself makes.
func (b *bed) protect() {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		ring := b.ring()
		ring.Spec.Protection = nil
		for _, policy := range []v1alpha1.ProtectionPolicy{v1alpha1.ProtectionStrict, v1alpha1.ProtectionDegrade} {
			ring.Spec.Protection = append(ring.Spec.Protection, v1alpha1.ProtectionRule{
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{protectedBy: string(policy)}}, Policy: policy,
			})
		}
		_, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
	for _, via := range b.through {
		n := 0
		b.await(via.name+" to protect", func() bool {
			n++
			return b.isProtected(via, fmt.Sprintf("probe-%s-%d", via.name, n))
		})
	}
}

// isProtected makes an object, and says whether it had a copy when that was answered.
func (b *bed) isProtected(via access, name string) bool {
	ctx := b.t.Context()
	probe := newObject("v1", "ConfigMap", name)
	probe.SetLabels(map[string]string{protectedBy: string(v1alpha1.ProtectionStrict)})
	if _, err := via.client.Resource(configMaps).Namespace(namespace).Create(ctx, probe, metav1.CreateOptions{}); err != nil {
		return false
	}
	defer func() {
		b.must(via.client.Resource(configMaps).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}))
	}()
	for _, cell := range b.allCells() {
		list, err := cell.client.Resource(secrets).Namespace(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell})
		b.must(err)
		if len(list.Items) > 0 {
			return true
		}
	}
	return false
}

// command is a command as an administrator types it. What it says is in the log where it fails.
func (b *bed) command(args ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), runPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.binary, append(args, "--kubeconfig", b.box.Kubeconfig, "--context", b.box.Name)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("kubectl cell %v: %v\n%s", args, err, out)
	}
}

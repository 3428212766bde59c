package router_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// protect has a rule in the ring until the test ends, and waits until the router goes by it.
func (b *bed) protect(t *testing.T, ns string, rule v1alpha1.ProtectionRule) {
	t.Helper()
	set := func(ctx context.Context, rules []v1alpha1.ProtectionRule) {
		c, err := client.New(b.rcp)
		if err != nil {
			t.Fatal(err)
		}
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
			ring, err := c.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			ring.Spec.Protection = rules
			_, err = c.Rings().Update(ctx, ring, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(t.Context(), []v1alpha1.ProtectionRule{rule})
	t.Cleanup(func() { set(context.Background(), nil) })
	snap := b.snapshot(t)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	n := 0
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		n++
		name := fmt.Sprintf("probe-%d", n)
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tier": "gold"}}}, metav1.CreateOptions{})
		return err == nil && b.envelope(t, snap, ns, name) != nil, err
	})
	if err != nil {
		t.Fatalf("wait for the router to protect: %v", err)
	}
}

// envelope is that of a config map in its backup cell, nil where there is none.
func (b *bed) envelope(t *testing.T, snap *routing.Snapshot, ns, name string) *envelope.Envelope {
	t.Helper()
	place, _ := snap.Table.LookupKey(ns + "/" + name)
	secret, err := kube(t, b.cells[place.OldBackup()]).CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(),
		envelope.Name("", "configmaps", ns, name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	opened, err := envelope.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// wantProtected compares the envelope with what the cell has now.
func (b *bed) wantProtected(t *testing.T, snap *routing.Snapshot, ns, name, after string) {
	t.Helper()
	place, _ := snap.Table.LookupKey(ns + "/" + name)
	found := b.envelope(t, snap, ns, name)
	object, err := kube(t, b.cells[place.Old()]).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if found != nil {
			t.Errorf("%s: the object is gone, and its envelope has version %s", after, found.ResourceVersion)
		}
	case err != nil:
		t.Fatal(err)
	case found == nil:
		t.Errorf("%s: there is no envelope", after)
	case !found.Describes(object.UID, object.ResourceVersion) || found.SourceCell != place.Old() || found.BackupCell != place.OldBackup():
		t.Errorf("%s: the envelope has %s %s; the object is %s %s", after, found.UID, found.ResourceVersion, object.UID, object.ResourceVersion)
	}
}

// TestProtectedWritesAreAnsweredWithTheirEnvelope looks after each kind of write, in each encoding, without a daemon.
func TestProtectedWritesAreAnsweredWithTheirEnvelope(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "protected")
	b.protect(t, ns, v1alpha1.ProtectionRule{Namespaces: []string{ns}})
	snap := b.snapshot(t)
	for encoding, contentType := range map[string]string{"json": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf, "yaml": ""} {
		config := rest.CopyConfig(b.router)
		config.ContentType, config.AcceptContentTypes = contentType, contentType
		if encoding == "yaml" {
			config.AcceptContentTypes = runtime.ContentTypeYAML + ",application/json"
		}
		for verb, do := range writes(t, config, ns) {
			name := verb + "-" + encoding
			if err := do(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			b.wantProtected(t, snap, ns, name, name)
		}
	}
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, object := range list.Items {
		if !placement.IsSelfMade("", "configmaps", ns, object.Name) { // a cell makes that anew
			b.wantProtected(t, snap, ns, object.Name, "the deletion of all")
		}
	}
}

// TestProtectedByLabel protects what has a label, and nothing else.
func TestProtectedByLabel(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "labelled")
	b.protect(t, ns, v1alpha1.ProtectionRule{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}})
	snap := b.snapshot(t)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if b.envelope(t, snap, ns, "plain") != nil {
		t.Error("what has no label is protected")
	}
	gold := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gold", Labels: map[string]string{"tier": "gold"}}}
	if _, err := maps.Create(t.Context(), gold, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wantProtected(t, snap, ns, "gold", "create")
	if err := maps.Delete(t.Context(), "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wantProtected(t, snap, ns, "gold", "delete")
}

// TestNoOlderStateOverANewerOne has many clients write one object: after each answer its envelope is no older.
func TestNoOlderStateOverANewerOne(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "contended")
	b.protect(t, ns, v1alpha1.ProtectionRule{Namespaces: []string{ns}, Policy: v1alpha1.ProtectionStrict})
	snap := b.snapshot(t)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for writer := range 6 {
		writers.Go(func() {
			for n := range 10 {
				patch := fmt.Sprintf(`{"data":{"w%d":"%d"}}`, writer, n)
				if _, err := maps.Patch(t.Context(), "one", "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
					t.Errorf("patch: %v", err)
					return
				}
				if found := b.envelope(t, snap, ns, "one"); !strings.Contains(string(found.Object), fmt.Sprintf(`"w%d":"%d"`, writer, n)) {
					t.Errorf("the envelope lacks an acknowledged write: w%d is not %d in %s", writer, n, found.Object)
				}
			}
		})
	}
	writers.Wait()
	b.wantProtected(t, snap, ns, "one", "all writes")
}

// TestABackupCellThatIsAway degrades or refuses, as the rule says.
func TestABackupCellThatIsAway(t *testing.T) {
	for _, policy := range []v1alpha1.ProtectionPolicy{v1alpha1.ProtectionStrict, v1alpha1.ProtectionDegrade} {
		t.Run(string(policy), func(t *testing.T) {
			b := newBed(t)
			ns := b.namespace(t, "away-"+strings.ToLower(string(policy)))
			b.protect(t, ns, v1alpha1.ProtectionRule{Namespaces: []string{ns}, Policy: policy})
			snap := b.snapshot(t)
			name := backedUpIn(snap, ns, "x", "cell-2")
			place, _ := snap.Table.LookupKey(ns + "/" + name)
			b.breakCell(t, "cell-2")
			config := rest.CopyConfig(b.router)
			warned := &warnings{}
			config.WarningHandler = warned
			maps := kube(t, config).CoreV1().ConfigMaps(ns)
			direct := kube(t, b.cells[place.Old()]).CoreV1().ConfigMaps(ns)
			err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
				_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
				if policy == v1alpha1.ProtectionDegrade {
					if err == nil && !warned.has("cell-2") { // the router does not know yet
						return false, direct.Delete(ctx, name, metav1.DeleteOptions{})
					}
					return err == nil, err
				}
				if err == nil || apierrors.IsTimeout(err) {
					return false, direct.Delete(ctx, name, metav1.DeleteOptions{})
				}
				return apierrors.IsServiceUnavailable(err) && strings.Contains(err.Error(), "nothing was written"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = direct.Get(t.Context(), name, metav1.GetOptions{})
			if written := err == nil; written != (policy == v1alpha1.ProtectionDegrade) {
				t.Errorf("the object is written: %v (%v)", written, err)
			}
		})
	}
}

// TestABackupCellThatHangs costs a protected write the limit for its copies and no more, whatever the answer is encoded
// in, and the client reads which cell it was. Where the policy follows from the object's labels it is no weaker, also where
// nobody can tell these any more.
func TestABackupCellThatHangs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "hangs")
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
	b.protect(t, ns, v1alpha1.ProtectionRule{Namespaces: []string{ns}, Selector: selector, Policy: v1alpha1.ProtectionStrict})
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	name := backedUpIn(b.snapshot(t), ns, "x", "cell-2")
	gold := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: selector.MatchLabels}}
	if _, err := maps.Create(t.Context(), gold, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	there := b.oneOfEach(t, ns)["cell-2"]
	gate := b.gate(t, "cell-2", maps, there)
	patch := func(encoding string) func() error {
		config := rest.CopyConfig(b.router)
		config.AcceptContentTypes, config.ContentType = encoding, encoding
		return func() error {
			_, err := kube(t, config).CoreV1().ConfigMaps(ns).Patch(t.Context(), name, types.MergePatchType,
				[]byte(`{"data":{"a":"`+encoding+`"}}`), metav1.PatchOptions{})
			return err
		}
	}
	for _, write := range []struct {
		what string
		do   func() error
	}{
		{"a patch in JSON", patch(runtime.ContentTypeJSON)},
		{"a patch in protobuf", patch(runtime.ContentTypeProtobuf)},
		// Its labels are in the envelope alone by then.
		{"a deletion", func() error { return maps.Delete(t.Context(), name, metav1.DeleteOptions{}) }},
	} {
		gate.Hang()
		began := time.Now()
		err := write.do()
		took := time.Since(began)
		if !apierrors.IsTimeout(err) || took > 20*time.Second || !strings.Contains(err.Error(), "cell-2: ") {
			t.Errorf("%s: after %s: %v; want a timeout that names the backup cell", write.what, took, err)
		}
		gate.Pass()
		until(t, "the cell is back", answered(maps, there))
	}
}

// backedUpIn is a name whose backup cell is that.
func backedUpIn(snap *routing.Snapshot, ns, prefix, cell string) string {
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s-%d", prefix, n)
		if p, _ := snap.Table.LookupKey(ns + "/" + name); p.Old() != cell && p.OldBackup() == cell {
			return name
		}
	}
}

// warnings is safe for concurrent use.
type warnings struct {
	mu   sync.Mutex // guards said
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) has(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(strings.Join(w.said, "\n"), part)
}

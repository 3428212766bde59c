package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// stranger is a client that no journal takes for the one that has read in the streams of a test.
func (b *bed) stranger(t *testing.T, ns string) typedcorev1.ConfigMapInterface {
	t.Helper()
	config := rest.CopyConfig(b.router)
	config.UserAgent = "stranger"
	return kube(t, config).CoreV1().ConfigMaps(ns)
}

// followed is a watch that begins where a list ends.
func followed(t *testing.T, maps typedcorev1.ConfigMapInterface, selector string) watch.Interface {
	t.Helper()
	options := metav1.ListOptions{LabelSelector: selector}
	options.ResourceVersion = listOf(t, maps, options).ResourceVersion
	w, err := maps.Watch(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// change changes a config map and returns its version, which all of the watches have told then.
func change(t *testing.T, maps typedcorev1.ConfigMapInterface, name string, told ...watch.Interface) string {
	t.Helper()
	patch := fmt.Appendf(nil, `{"data":{"at":%q}}`, time.Now().Format(time.RFC3339Nano))
	m, err := maps.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range told {
		for versions(events(t, w, 1))[0] != m.ResourceVersion { // what came before
		}
	}
	return m.ResourceVersion
}

// begins says how a watch begins from a version behind which there is an event: nil where with an event.
func begins(t *testing.T, maps typedcorev1.ConfigMapInterface, version, selector string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: version, LabelSelector: selector})
	if err != nil {
		return err
	}
	defer w.Stop()
	e, ok := <-w.ResultChan() // which is closed with ctx
	switch {
	case !ok:
		return errors.New("it ends before it has begun")
	case e.Type == watch.Error:
		return apierrors.FromObject(e.Object)
	}
	return nil
}

// TestAWatchFromWhatOneScopeHasForgottenHasExpired, though another scope knows it: the client may have read it in either.
func TestAWatchFromWhatOneScopeHasForgottenHasExpired(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "forgotten-in-one")
	names := b.fill(t, ns, 2) // the second one has another parity
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	const even = "parity=even"
	all, some := followed(t, maps, ""), followed(t, maps, even)
	var version string
	until(t, "a watch goes on from what both scopes know", func(context.Context) bool {
		version = change(t, maps, names[0], all, some)
		change(t, maps, names[0], all, some)
		return begins(t, b.stranger(t, ns), version, "") == nil
	})
	cell, _ := b.cellOf(t, ns, names[1])
	for range 520 { // more than a journal has entries
		b.touch(t, cell, ns, names[1])
	}
	change(t, maps, names[1], all)
	for _, selector := range []string{"", even} {
		if err := begins(t, b.stranger(t, ns), version, selector); !apierrors.IsResourceExpired(err) {
			t.Errorf("a watch of %q from what one scope has forgotten: %v; want that it has expired", selector, err)
		}
	}
	if err := begins(t, maps, version, even); err != nil {
		t.Errorf("a watch from what its client has read in the scope that knows it: %v", err)
	}
}

// TestAWatchFromWhatNoJournalKeepsHasExpired: there is none for very long selectors, and whoever has read such a stream may
// lack what it had yet to tell of other cells.
func TestAWatchFromWhatNoJournalKeepsHasExpired(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "kept-nowhere")
	names := b.fill(t, ns, 1)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	all := followed(t, maps, "")
	until(t, "a watch goes on from what a stream has told", func(context.Context) bool {
		version := change(t, maps, names[0], all)
		change(t, maps, names[0], all)
		return begins(t, b.stranger(t, ns), version, "") == nil
	})
	long := "parity in (even" + strings.Repeat(","+strings.Repeat("x", 60), 80) + ")"
	some := followed(t, maps, long)
	version := change(t, maps, names[0], all, some)
	change(t, maps, names[0], all, some)
	if err := begins(t, maps, version, long); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch with the same selector: %v; want that it has expired", err)
	}
	if err := begins(t, b.stranger(t, ns), version, ""); !apierrors.IsResourceExpired(err) {
		t.Errorf("a stranger's watch: %v; want that it has expired", err)
	}
	if err := begins(t, maps, version, ""); err != nil {
		t.Errorf("a watch from what its client has read in a stream of its scope: %v", err)
	}
}

package rebalance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// traces are what a run leaves of one object: what is in its cell, in the one that it came from, and elsewhere.
type traces struct{ Owner, Origin, Elsewhere []string }

// left is what a run has left, by whether the object has moved. Objects of one sort have to be left alike.
func (b *bed) left(before map[string]placed) map[string]traces {
	b.t.Helper()
	snap, copies, out := b.snapshot(), b.copies(), map[string]traces{}
	for name, was := range before {
		at, _ := snap.Table.LookupKey(b.namespace + "/" + name)
		var is traces
		for cell, cm := range copies[name] {
			trace := append([]string{"data " + strings.Join(slices.Sorted(maps.Keys(cm.Data)), ",")}, traceOf(cm)...)
			switch cell {
			case at.Old():
				is.Owner = trace
			case was.cell:
				is.Origin = trace
			default:
				is.Elsewhere = append(is.Elsewhere, trace...)
			}
		}
		sort := "moved"
		if at.Old() == was.cell {
			sort = "stayed"
		}
		if other, known := out[sort]; known && fmt.Sprint(other) != fmt.Sprint(is) {
			b.t.Errorf("%s, which %s, is left as %v; others as %v", name, sort, is, other)
		}
		out[sort] = is
	}
	return out
}

// traceOf names all marks that an object has; of annotations, whose values tell of this run, only the names.
func traceOf(o metav1.Object) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(o.GetAnnotations())) {
		out = append(out, "annotation "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.GetLabels())) {
		out = append(out, "label "+name+"="+o.GetLabels()[name])
	}
	for _, finalizer := range o.GetFinalizers() {
		out = append(out, "finalizer "+finalizer)
	}
	return out
}

// versions are those of everything in the test's namespace, of every kind that the cells serve, by cell, kind and name.
func (b *bed) versions() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for cell, config := range b.configs {
		kinds, err := b.cells[cell].Discovery().ServerPreferredResources()
		b.must(err)
		listed := discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "create"}}, kinds)
		resources, err := discovery.GroupVersionResources(listed)
		b.must(err)
		client, err := metadata.NewForConfig(config)
		b.must(err)
		for resource := range resources {
			for name, version := range b.versionsOf(client, resource) {
				out[cell+" "+resource.Resource+" "+name] = version
			}
		}
	}
	return out
}

func (b *bed) versionsOf(client metadata.Interface, resource schema.GroupVersionResource) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	list, err := client.Resource(resource).List(b.t.Context(), metav1.ListOptions{})
	b.must(err)
	for _, o := range list.Items {
		made := o.Name == "kube-root-ca.crt" || resource.Resource == "serviceaccounts" && o.Name == "default" // by controllers, when they get round to it
		if o.Namespace == b.namespace && !made {
			out[o.Name] = o.ResourceVersion
		}
	}
	return out
}

// onlyWritten wants nothing to have been made, written or deleted since but the objects of units, by key.
func (b *bed) onlyWritten(before map[string]string, units map[string]bool) {
	b.t.Helper()
	after := b.versions()
	both := maps.Clone(before)
	maps.Copy(both, after)
	for _, what := range slices.Sorted(maps.Keys(both)) {
		fields := strings.Fields(what)
		moves := fields[1] == "configmaps" && units[b.namespace+"/"+fields[2]]
		if before[what] != after[what] && !moves {
			b.t.Errorf("%s was in version %q, and is in %q", what, before[what], after[what])
		}
	}
}

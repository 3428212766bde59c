package plan

import (
	"iter"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Workload names one sharded object and the rule that makes its key.
type Workload struct {
	Namespace string
	Name      string
	Key       placement.KeyRule
}

// DiffOptions choose what Diff does besides counting.
type DiffOptions struct {
	// PerNamespace fills Preview.Namespaces; memory grows with the number of namespaces.
	PerNamespace bool
	// Each, if set, is called for every workload whose cell or backup cell changes, in the
	// order of the workloads.
	Each func(Workload, placement.Placement)
}

// Diff counts what going from the table's current ring to its target would do to the workloads.
// It reads them once and keeps none. With an empty current ring nothing is placed, so nothing is
// counted but the workloads.
func Diff(table *placement.Table, workloads iter.Seq[Workload], options DiffOptions) Preview {
	counts := newTally(table)
	namespaces := map[string]*Namespace{}
	for w := range workloads {
		p, placed := table.Lookup(w.Key, w.Namespace, w.Name)
		counts.workloads++
		if placed {
			counts.add(p)
		}
		if options.PerNamespace {
			addToNamespace(namespaces, w.Namespace, p)
		}
		if options.Each != nil && (p.Moves() || p.Rehomed()) {
			options.Each(w, p)
		}
	}
	preview := counts.preview()
	if options.PerNamespace {
		for _, name := range slices.Sorted(maps.Keys(namespaces)) {
			preview.Namespaces = append(preview.Namespaces, *namespaces[name])
		}
	}
	return preview
}

func addToNamespace(namespaces map[string]*Namespace, name string, p placement.Placement) {
	n := namespaces[name]
	if n == nil {
		n = &Namespace{Namespace: name}
		namespaces[name] = n
	}
	n.Workloads++
	switch {
	case p.Moves():
		n.Moves++
	case p.Rehomed():
		n.BackupsRehomed++
	}
}

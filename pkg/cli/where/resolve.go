package where

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// resolver finds kinds: in the table of those that are always there, then in the rules of the
// ring, then by asking the server, and there only for words that are no namespaces.
type resolver struct {
	known kinds.Table
	// mapper asks the server; nil where none may be asked.
	mapper func() (meta.RESTMapper, error)
	// noNamespace says whether a word surely is no namespace; nil where nobody may be asked.
	noNamespace func(word string) bool
	// namespaces are words that were asked about and are taken for namespaces.
	namespaces map[string]bool
}

// addRules makes the resources known that the ring has rules for.
func (r *resolver) addRules(ring *v1alpha1.Ring) {
	layout := ring.Status.Current
	if layout == nil {
		return
	}
	for _, rule := range layout.Resources {
		if _, exists := r.known.Find(rule.Resource + "." + rule.Group); !exists && rule.Resource != "*" {
			r.known.Add(rule.Group, false, rule.Resource)
		}
	}
}

// find returns nil without an error for a word that is no known kind and may be a namespace. Discovery takes a while, and
// most such words are namespaces: it is asked where there is no namespace of that name.
func (r *resolver) find(word string, sure bool) (*kinds.Kind, error) {
	if found, ok := r.known.Find(word); ok {
		return &found, nil
	}
	if sure {
		return r.discover(word)
	}
	if r.noNamespace == nil || r.namespaces[word] {
		return nil, nil
	}
	if r.noNamespace(word) {
		if found, err := r.discover(word); err == nil {
			return found, nil
		}
	}
	if r.namespaces == nil {
		r.namespaces = map[string]bool{}
	}
	r.namespaces[word] = true // the next line of a file asks no server
	return nil, nil
}

// discover asks the server for a kind, by any of its names.
func (r *resolver) discover(word string) (*kinds.Kind, error) {
	unknown := fmt.Errorf("unknown kind %q", printers.Clip(word))
	if r.mapper == nil {
		return nil, unknown
	}
	mapper, err := r.mapper()
	if err != nil {
		return nil, fmt.Errorf("kind %q: %w", printers.Clip(word), err)
	}
	gr := schema.ParseGroupResource(word)
	gvk, err := mapper.KindFor(gr.WithVersion(""))
	if err != nil {
		return nil, unknown
	}
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, unknown
	}
	found := kinds.Kind{GroupResource: mapping.Resource.GroupResource(), ClusterScoped: mapping.Scope.Name() == meta.RESTScopeNameRoot}
	r.known[word] = found // the next line of a file asks no server
	return &found, nil
}

// assume is find for when the ring is not read yet: whatever can only be a kind is taken for one,
// so that the rest of a name can be checked.
func (r *resolver) assume(word string, sure bool) (*kinds.Kind, error) {
	if found, ok := r.known.Find(word); ok {
		return &found, nil
	}
	if sure {
		return &kinds.Kind{}, nil
	}
	return nil, nil
}

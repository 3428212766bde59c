package where

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// maxName is more than any kind, namespace and name can have together, in bytes.
const maxName = 1024

// target is one name that the user asks for.
type target struct {
	// kind is nil for a name without kind.
	kind      *kinds.Kind
	namespace string
	name      string
}

// String is the target as the first column shows it: "namespace/name", or the name alone for what
// has no namespace.
func (t target) String() string {
	if t.namespace == "" {
		return t.name
	}
	return t.namespace + "/" + t.name
}

// parser reads targets.
type parser struct {
	// namespace is the one of the context or of -n; explicit says that it was -n.
	namespace string
	explicit  bool
	// find looks up a kind. sure says that the word cannot be a namespace: an unknown kind is an
	// error then. Where the error is not nil, the word may be a kind but none is known.
	find func(word string, sure bool) (*kinds.Kind, error)
}

// parse reads NAME, KIND/NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME. The first of two parts is a
// kind where there is one of that name, else a namespace. Errors say what is allowed.
func (p parser) parse(text string) (target, error) {
	if len(text) > maxName {
		return target{}, fmt.Errorf("%q is too long for a name (%d bytes)", printers.Clip(text), len(text))
	}
	parts := strings.Split(text, "/")
	out := target{namespace: p.namespace, name: parts[len(parts)-1]}
	var err error
	switch len(parts) {
	case 1:
	case 2:
		out.kind, out.namespace, err = p.prefix(parts[0])
	case 3:
		if out.kind, err = p.find(parts[0], true); err == nil {
			out.namespace, err = p.inNamespace(parts[1])
		}
	default:
		err = fmt.Errorf("%q has too many parts; allowed are NAME, KIND/NAME, NAMESPACE/NAME and KIND/NAMESPACE/NAME", printers.Clip(text))
	}
	if err != nil {
		return target{}, err
	}
	if out.kind != nil && out.kind.ClusterScoped {
		if len(parts) == 3 {
			return target{}, fmt.Errorf("%q: %s have no namespace", printers.Clip(text), out.kind.Resource)
		}
		out.namespace = ""
	}
	return out, out.validate(text)
}

// prefix reads the first of two parts, a kind or a namespace.
func (p parser) prefix(word string) (*kinds.Kind, string, error) {
	_, contradiction := p.inNamespace(word)
	// A namespace has no dots, so that "deployments.apps" can only be a kind; so can any word but that of -n.
	dotted := strings.Contains(word, ".")
	found, err := p.find(word, dotted || contradiction != nil)
	switch {
	case err == nil && found != nil:
		return found, p.namespace, nil
	case dotted:
		return nil, "", err
	}
	return nil, word, contradiction
}

// inNamespace is the namespace that is part of a name; it may not contradict -n.
func (p parser) inNamespace(namespace string) (string, error) {
	if p.explicit && namespace != p.namespace {
		return "", fmt.Errorf("namespace %q contradicts -n %s", printers.Clip(namespace), p.namespace)
	}
	return namespace, nil
}

// validate checks what an apiserver would check of the name and namespace of any object.
func (t target) validate(text string) error {
	if t.namespace != "" || t.kind == nil || !t.kind.ClusterScoped {
		if problems := validation.IsDNS1123Label(t.namespace); len(problems) > 0 {
			return fmt.Errorf("%q: the namespace %q is not a DNS label (a-z, 0-9 and '-', at most 63)", printers.Clip(text), printers.Clip(t.namespace))
		}
	}
	// Only the names of roles and the like may hold characters such as ':'.
	if t.kind != nil && t.kind.Group == "rbac.authorization.k8s.io" {
		if problems := content.IsPathSegmentName(t.name); len(problems) > 0 || t.name == "" {
			return fmt.Errorf("%q: %q is not a name of %s", printers.Clip(text), printers.Clip(t.name), t.kind.Resource)
		}
		return nil
	}
	if problems := validation.IsDNS1123Subdomain(t.name); len(problems) > 0 {
		return fmt.Errorf("%q: %q is not a name (a-z, 0-9, '-' and '.', at most 253, beginning and ending with a letter or digit)",
			printers.Clip(text), printers.Clip(t.name))
	}
	return nil
}

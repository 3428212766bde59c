package rebalance

import (
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// limiting is the choice of units by flags: -n of the global flags, and -l.
type limiting struct {
	env      *command.Env
	flags    *pflag.FlagSet
	selector string
}

func (l *limiting) addFlags(env *command.Env, flags *pflag.FlagSet) {
	l.env, l.flags = env, flags
	flags.StringVarP(&l.selector, "selector", "l", "", "Move only units with an object of these labels, then pause; with -n only those of that namespace")
}

// limit is what the flags choose, nil where they choose nothing.
func (l *limiting) limit() (*v1alpha1.RebalanceLimit, error) {
	if !l.flags.Changed("namespace") && !l.flags.Changed("selector") {
		return nil, nil
	}
	limit := &v1alpha1.RebalanceLimit{}
	if l.flags.Changed("namespace") {
		namespace := strings.TrimSpace(*l.env.Flags.Namespace)
		if namespace == "" {
			return nil, exit.Flagf("namespace", "", "name a namespace").WithHint("leave -n out to move everything")
		}
		limit.Namespaces = []string{namespace}
	}
	if l.flags.Changed("selector") {
		selector, err := labels.Parse(l.selector)
		if err != nil || selector.Empty() {
			return nil, exit.Flagf("selector", printers.Clip(l.selector), "be a selector of labels").WithHint("-l tier=canary   # or: -l 'tier in (canary, test)'")
		}
		limit.Selector = selector.String()
	}
	return limit, nil
}

// limitFlags are the flags that choose what a limit chooses, for a line that is printed to be typed next.
func limitFlags(limit *v1alpha1.RebalanceLimit) string {
	if limit == nil {
		return ""
	}
	text := ""
	if len(limit.Namespaces) == 1 { // -n takes no more
		text = " -n " + command.Quoted(limit.Namespaces[0])
	}
	if limit.Selector != "" {
		text += " -l " + command.Quoted(limit.Selector)
	}
	return text
}

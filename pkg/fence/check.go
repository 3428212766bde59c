package fence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// State is what [Check] found of a cell's fence.
type State string

const (
	// Live: every part is there and as it must be.
	Live State = "Live"
	// Missing: a policy is not there, or a binding that puts it in force, or, of a freeze, its mark.
	Missing State = "Missing"
	// Drifted: somebody has changed a part, another version installed it, or the mover's rights are
	// missing.
	Drifted State = "Drifted"
	// Unsupported: the apiserver does not serve admission policies. The mover has his rights.
	Unsupported State = "Unsupported"
)

// Report is the state of a fence.
type Report struct {
	State State
	// Differences say what is missing or other than it must be, such as
	// "validatingadmissionpolicy/kubecell-fence spec.failurePolicy". Empty where the state is Live.
	Differences []string
}

func (r Report) String() string {
	if len(r.Differences) == 0 {
		return string(r.State)
	}
	return fmt.Sprintf("%s (%s)", r.State, strings.Join(r.Differences, ", "))
}

// Check compares the fence of a cell with what it must be. It writes nothing. That a fence is Live does not say
// that it is in force already; see [Await].
func Check(ctx context.Context, config *rest.Config) (Report, error) {
	all, err := parts()
	if err != nil {
		return Report{}, err
	}
	report, err := check(ctx, config, all)
	if err != nil || report.State != Unsupported {
		return report, err
	}
	granted, err := compare(ctx, config, rights(all))
	if err != nil || granted.State == Live {
		return report, err
	}
	return granted, nil
}

// check compares all parts with what they must be.
func check(ctx context.Context, config *rest.Config, all []part) (Report, error) {
	if err := supported(ctx, config); errors.Is(err, ErrUnsupported) {
		return Report{State: Unsupported, Differences: []string{err.Error()}}, nil
	} else if err != nil {
		return Report{}, err
	}
	return compare(ctx, config, all)
}

// compare does so where policies are served, or none is among the parts.
func compare(ctx context.Context, config *rest.Config, all []part) (Report, error) {
	client, err := open(config)
	if err != nil {
		return Report{}, err
	}
	report := Report{State: Live}
	for i, p := range all {
		differences, missing, err := p.compare(ctx, client)
		if err != nil {
			return Report{}, err
		}
		if missing && i >= len(rights(all)) {
			report.State = Missing
		}
		report.Differences = append(report.Differences, differences...)
	}
	if len(report.Differences) > 0 && report.State == Live {
		report.State = Drifted
	}
	return report, nil
}

// compare says by what the live part is not as it must be.
func (p part) compare(ctx context.Context, client dynamic.Interface) (differences []string, missing bool, err error) {
	live, err := client.Resource(p.resource).Get(ctx, p.want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return []string{p.name() + " is missing"}, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", p.name(), err)
	}
	differences, err = p.differences(live)
	return differences, false, err
}

// supported is nil where the apiserver serves policies and their bindings.
func supported(ctx context.Context, config *rest.Config) error {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("build discovery client: %w", err)
	}
	var list metav1.APIResourceList
	err = client.RESTClient().Get().AbsPath("/apis/" + admissionv1.SchemeGroupVersion.String()).Do(ctx).Into(&list)
	if apierrors.IsNotFound(err) {
		return ErrUnsupported
	}
	if err != nil {
		return fmt.Errorf("discover admission policies: %w", err)
	}
	served := func(name string) bool {
		return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == name })
	}
	if !served("validatingadmissionpolicies") || !served("validatingadmissionpolicybindings") {
		return ErrUnsupported
	}
	return nil
}

// keys are those of both maps, sorted.
func keys(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

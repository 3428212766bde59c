package fence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// probeEvery is how often it is tried whether the fence is in force.
	probeEvery = 100 * time.Millisecond
	// probeWithin is when to give up. An apiserver looks for changed policies once a second.
	probeWithin = 30 * time.Second
	// probeState is the state that a probe pretends. It is none that an object in migration has.
	probeState = "probe"
)

// Await returns nil once the apiserver at config.Host refuses to write an object with the label, by the
// policy as this version of the program has it, and lets the mover write one. Otherwise the error says what
// it did instead when ctx ended, or after half a minute.
//
// It tries to create such a ConfigMap, in a dry run, so that there is nothing to clean up. The namespace
// [v1alpha1.Namespace] has to be there.
//
// Each apiserver of a cell learns of a policy by itself: the caller asks each endpoint. Not promised is
// what an apiserver does that hides with others behind one address, nor that a binding which was changed a
// moment ago is as new as the policy is: [Check] before, and not after, tells of such a change.
func Await(ctx context.Context, config *rest.Config) error {
	revision, err := revisionOf(policySpec(""))
	if err != nil {
		return err
	}
	return await(ctx, config, probe{policies: []string{Name}, what: "fence", subject: "a write of an object in migration", revision: revision, label: true})
}

// AwaitMover returns nil once the apiserver at config.Host lets the mover write, which is all that there is to wait for in a
// cell without a fence. It tries as [Await] does.
func AwaitMover(ctx context.Context, config *rest.Config) error {
	p := probe{policies: []string{Name}, label: true}
	if why := p.await(ctx, config, func(ctx context.Context) error { return p.create(ctx, p.mover) }); why != nil {
		return fmt.Errorf("the mover is not let through at %s: %w", config.Host, why)
	}
	return nil
}

// await tries until the policy of the probe is in force.
func await(ctx context.Context, config *rest.Config, p probe) error {
	if why := p.await(ctx, config, p.try); why != nil {
		return fmt.Errorf("the %s is not in force at %s: %w", p.what, config.Host, why)
	}
	return nil
}

// probe tries a policy from both sides.
type probe struct {
	// policies are those whose refusal is wanted, of one or another.
	policies []string
	revision string
	// what is the policy, and subject the write that it refuses, for people.
	what, subject string
	// label says that the object is one in migration.
	label bool

	others, mover kubernetes.Interface
}

func (p *probe) connect(config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	var err error
	if p.others, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	if p.mover, err = kubernetes.NewForConfig(AsMover(config)); err != nil {
		return fmt.Errorf("build client of the mover: %w", err)
	}
	return nil
}

// await connects and tries until that succeeds. The error is the last before the time was up.
func (p *probe) await(ctx context.Context, config *rest.Config, try func(context.Context) error) error {
	if err := p.connect(config); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	why := errors.New("it was not asked")
	err := wait.PollUntilContextCancel(ctx, probeEvery, true, func(ctx context.Context) (bool, error) {
		found := try(ctx)
		if found == nil || ctx.Err() == nil {
			why = found
		}
		return found == nil, nil
	})
	if err != nil {
		return why
	}
	return nil
}

// try is nil where the policy refuses others and lets the mover through.
func (p *probe) try(ctx context.Context) error {
	err := p.create(ctx, p.others)
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return errors.New(p.subject + " was let through")
	case !errors.As(err, &status):
		return err
	}
	words, is := refusal(status.Status(), p.policies...)
	if !is {
		return fmt.Errorf("%s was refused for another reason: %w", p.subject, err)
	}
	if !strings.HasSuffix(words, stamp(p.revision)) {
		return fmt.Errorf("an earlier %s is in force: %w", p.what, err)
	}
	if err := p.create(ctx, p.mover); err != nil {
		return fmt.Errorf("the mover is not let through: %w", err)
	}
	return nil
}

func (p *probe) create(ctx context.Context, client kubernetes.Interface) error {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: p.policies[0] + "-probe-"}}
	if p.label {
		object.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: probeState}
	}
	_, err := client.CoreV1().ConfigMaps(v1alpha1.Namespace).Create(ctx, object,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: v1alpha1.FieldManager})
	return err
}

package failover

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// drill rehearses every step that writes nothing on the live ring: the report, the routers' acknowledgement of the
// epoch that they serve, whether the cell answers to be frozen, and every copy read to its end and checked against its
// hash.
func (r *run) drill(ctx context.Context, ring *v1alpha1.Ring) (ended bool, err error) {
	r.progress.begin(StepPreflight)
	facts, err := r.c.facts(ctx, r.cell)
	if err != nil {
		return false, passing(err)
	}
	found, err := Report(facts)
	if err != nil {
		return true, r.refuse(ctx, ring, err)
	}
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.Report, s.FromEpoch = &found.FailoverReport, ring.Status.Epoch
	})
	r.progress.done(StepPreflight, Summary(&found.FailoverReport))
	r.progress.begin(StepFence)
	if err := r.acknowledged(ctx, ring); err != nil {
		return false, err
	}
	r.progress.done(StepFence, fmt.Sprintf("every router acknowledges epoch %d", ring.Status.Epoch))
	r.progress.begin(StepFreeze)
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return false, passing(err)
	}
	said := "the cell answers, and would be frozen"
	if answers(ctx, access, r.cell) != nil {
		said = "the cell does not answer, and would be frozen when it does"
	}
	r.progress.done(StepFreeze, said)
	r.progress.begin(StepPromote)
	opened, kept, err := r.openAll(ctx, facts, access)
	if err != nil {
		return false, err
	}
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.KeptObjects, s.Kept = int64(len(kept)), kept[:min(len(kept), maxKept)]
	})
	r.progress.done(StepPromote, fmt.Sprintf("%d copies opened, %d of them corrupt", opened, len(kept)))
	return true, r.finish(ctx, ring, v1alpha1.FailoverSucceeded)
}

// openAll reads every copy that would be promoted.
func (r *run) openAll(ctx context.Context, facts *Facts, access map[string]federation.Access) (opened int, corrupt []v1alpha1.FailoverKept, err error) {
	for _, s := range facts.Survivors {
		if s.Err != nil {
			continue // the report says so
		}
		config, err := configOf(access, s.Cell)
		if err != nil {
			return opened, corrupt, err
		}
		kube, err := kubernetes.NewForConfig(wrapped(config, s.Cell, r.WrapCell))
		if err != nil {
			return opened, corrupt, fmt.Errorf("build client of cell %s: %w", s.Cell, err)
		}
		n, bad, err := openIn(ctx, kube, r.cell)
		for _, e := range bad {
			corrupt = append(corrupt, v1alpha1.FailoverKept{
				Object: Key("", "secrets", v1alpha1.Namespace, e.Name), Cell: s.Cell, Reason: "Corrupt", Message: e.Error(),
			})
		}
		if opened += n; err != nil {
			return opened, corrupt, fmt.Errorf("cell %s: %w", s.Cell, err)
		}
	}
	return opened, corrupt, nil
}

func openIn(ctx context.Context, kube kubernetes.Interface, source string) (opened int, corrupt []*envelope.CorruptError, err error) {
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + source, Limit: pageSize / 10}
	for {
		var page *corev1.SecretList
		if page, err = kube.CoreV1().Secrets(v1alpha1.Namespace).List(ctx, options); err != nil {
			return opened, corrupt, fmt.Errorf("list envelopes: %w", err)
		}
		for i := range page.Items {
			opened++
			if bad, is := errors.AsType[*envelope.CorruptError](second(envelope.Open(&page.Items[i]))); is {
				corrupt = append(corrupt, bad)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return opened, corrupt, nil
		}
	}
}

func second(_ *envelope.Envelope, err error) error { return err }

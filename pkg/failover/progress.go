package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// maxKept is how many objects a record names.
const maxKept = 100

// progress is the status of a run. Its driver alone writes it.
type progress struct {
	c    *connection
	tell func(*v1alpha1.Failover)

	mu      sync.Mutex
	record  *v1alpha1.Failover // as the server has it, guarded by mu
	status  v1alpha1.FailoverStatus
	telling sync.Mutex // serialises tell
}

func newProgress(c *connection, record *v1alpha1.Failover, tell func(*v1alpha1.Failover)) *progress {
	return &progress{c: c, tell: tell, record: record, status: *record.Status.DeepCopy()}
}

// edit changes the status. It is written by the next publish.
func (p *progress) edit(change func(*v1alpha1.FailoverStatus)) {
	p.mu.Lock()
	change(&p.status)
	shown := p.record.DeepCopy()
	shown.Status = *p.status.DeepCopy()
	p.mu.Unlock()
	if p.tell != nil {
		p.telling.Lock()
		defer p.telling.Unlock()
		p.tell(shown)
	}
}

func (p *progress) read() v1alpha1.FailoverStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.status.DeepCopy()
}

// publish writes the status where it is another one.
func (p *progress) publish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if equality.Semantic.DeepEqual(p.record.Status, p.status) {
			return nil
		}
		next := p.record.DeepCopy()
		next.Status = *p.status.DeepCopy()
		written, err := p.c.client.Failovers().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		switch {
		case err == nil:
			p.record = written
			return nil
		case !apierrors.IsConflict(err):
			return fmt.Errorf("write the status of failover %s: %w", next.Name, err)
		}
		fresh, err := p.c.client.Failovers().Get(ctx, next.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read failover %s: %w", next.Name, err)
		}
		p.record = fresh
	}
}

// begin says that a step is under way; what an earlier driver wrote of it stays.
func (p *progress) begin(name StepName) {
	p.edit(func(s *v1alpha1.FailoverStatus) {
		step := stepOf(s, name)
		if step.StartTime == nil {
			now := metav1.NewMicroTime(time.Now())
			step.StartTime = &now
		}
	})
}

// done says that a step has ended.
func (p *progress) done(name StepName, message string) {
	p.edit(func(s *v1alpha1.FailoverStatus) {
		step := stepOf(s, name)
		now := metav1.NewMicroTime(time.Now())
		if step.StartTime == nil {
			step.StartTime = &now
		}
		step.CompletionTime, step.Message = &now, message
	})
}

func stepOf(s *v1alpha1.FailoverStatus, name StepName) *v1alpha1.FailoverStep {
	for i := range s.Steps {
		if s.Steps[i].Name == string(name) {
			return &s.Steps[i]
		}
	}
	s.Steps = append(s.Steps, v1alpha1.FailoverStep{Name: string(name)})
	return &s.Steps[len(s.Steps)-1]
}

// noteKept names an object that a person has to look at, unless an earlier look has.
func noteKept(s *v1alpha1.FailoverStatus, kept v1alpha1.FailoverKept) {
	if slices.Contains(s.Kept, kept) {
		return
	}
	if s.KeptObjects++; len(s.Kept) < maxKept {
		s.Kept = append(s.Kept, kept)
	}
}

// noteFolder says where objects are saved to. An earlier run may have been told of another folder.
func noteFolder(s *v1alpha1.FailoverStatus, place string) {
	switch {
	case s.Quarantine == "":
		s.Quarantine = place
	case !slices.Contains(strings.Split(s.Quarantine, ", "), place):
		s.Quarantine += ", " + place
	}
}

func (p *progress) condition(kind string, good bool, reason, message string) {
	p.edit(func(s *v1alpha1.FailoverStatus) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
		if !good {
			c.Status = metav1.ConditionFalse
		}
		apimeta.SetStatusCondition(&s.Conditions, c)
	})
}

// waiting says for which routers the run waits.
func (p *progress) waiting(blocking []routers.Router) {
	if len(blocking) == 0 {
		p.condition(v1alpha1.ConditionRoutersAcknowledged, true, "Acknowledged", "")
		return
	}
	var names []string
	for _, r := range blocking {
		names = append(names, fmt.Sprintf("%s (epoch %d, %s)", r.Name, r.Epoch, r.Seen(p.c.clock.Now())))
	}
	p.condition(v1alpha1.ConditionRoutersAcknowledged, false, "RouterSilent",
		"waiting for "+strings.Join(names, ", ")+"; forget what is dead: kubectl cell router forget NAME")
}

// attended works while the Lease is held, and publishes meanwhile. At the end it says that nobody drives any more, unless the
// Lease was lost: the status is its next holder's then.
func (p *progress) attended(ctx context.Context, identity string, logger *slog.Logger, work func(context.Context) error) error {
	p.edit(func(s *v1alpha1.FailoverStatus) {
		if s.Driver = identity; s.StartTime == nil {
			now := metav1.Now()
			s.StartTime, s.Phase = &now, v1alpha1.FailoverRunning
		}
	})
	p.condition(v1alpha1.ConditionDriven, true, "LeaseHeld", "")
	beside, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.serve(beside, logger)
	}()
	err := work(ctx)
	stop()
	<-ended
	if err == nil || errors.Is(context.Cause(ctx), lease.ErrLost) {
		return err
	}
	p.condition(v1alpha1.ConditionDriven, false, "GaveUp", err.Error())
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	if err := p.publish(last); err != nil {
		logger.Warn("cannot say that nobody drives", "err", err)
	}
	return err
}

// lastPatience is how long a driver that gives up tries to say so.
const lastPatience = 5 * again

// serve publishes until ctx ends.
func (p *progress) serve(ctx context.Context, logger *slog.Logger) {
	for pause.For(ctx, again) == nil {
		if err := p.publish(ctx); err != nil && ctx.Err() == nil {
			logger.Warn("cannot write the status, trying again", "err", err)
		}
	}
}

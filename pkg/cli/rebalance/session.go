package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

const (
	// leaveGrace is for how long units in flight may take to finish when this process leaves the run. After
	// it they are left as they are, for the next driver.
	leaveGrace = 30 * time.Second
	// askPatience is how long one question to the server may take beside the work.
	askPatience = 10 * time.Second
)

// departure is why this process left a run that has not ended.
type departure int

const (
	// staying: it did not leave.
	staying departure = iota
	interrupted
	detached
	paused
	timedOut
	// stuck: too many units failed, and there is nobody at a screen.
	stuck
	// satisfied: all units that -n and -l choose have moved, and there is nobody at a screen.
	satisfied
)

// session is one process at one run.
type session struct {
	*options
	fed  *command.Federation
	name string
	// self is this driver's identity, empty for a viewer.
	self string
	// before and after are the rings that the run leads from and to, nil where that is not known.
	before, after *v1alpha1.RingLayout

	leaving chan struct{}
	once    sync.Once
	// working ends when the units in flight had their time.
	working context.Context
	stop    context.CancelFunc

	mu    sync.Mutex
	why   departure // guarded by mu
	seq   int64     // guarded by mu
	state struct {  // guarded by mu
		phase   v1alpha1.RebalancePhase
		stopped string
	}
}

func newSession(o *options, fed *command.Federation, run *v1alpha1.Rebalance) *session {
	s := &session{options: o, fed: fed, name: run.Name, leaving: make(chan struct{})}
	if !o.attach {
		s.self = o.env.Identity()
	}
	return s
}

// leave begins the end of this process's part in the run; the first reason counts.
func (s *session) leave(why departure) {
	s.once.Do(func() {
		s.mu.Lock()
		s.why = why
		s.mu.Unlock()
		close(s.leaving)
		if s.self == "" {
			s.stop()
			return
		}
		time.AfterFunc(leaveGrace, s.stop)
	})
}

func (s *session) left() departure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// show drives or looks on until the run has ended or is left, and says how that was.
func (s *session) show(ctx context.Context) error {
	s.working, s.stop = context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), klog.Logger{}))
	defer s.stop()
	defer context.AfterFunc(ctx, func() { s.leave(interrupted) })()
	if s.timeout > 0 {
		defer time.AfterFunc(s.timeout, func() { s.leave(timedOut) }).Stop()
	}
	if ring, err := s.fed.Cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{}); err == nil {
		s.before, s.after = ring.Status.Current, &ring.Spec.RingLayout
		if ring.Status.Target != nil {
			s.after = ring.Status.Target
		}
		if ring.Status.Aborting {
			s.before, s.after = nil, nil
		}
	}
	run, err := s.onScreenOrNot()
	return s.conclude(ctx, run, err)
}

// work tells what happens, from the state that the run is in now.
func (s *session) work(tell func(rebalance.Event)) (*v1alpha1.Rebalance, error) {
	tell = s.numbered(tell)
	if s.self == "" {
		return rebalance.Watch(s.working, s.fed.Patient, s.name, tell)
	}
	run, err := s.fed.Cell.Rebalances().Get(s.working, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read rebalance %s: %w", s.name, err)
	}
	holder, err := rebalance.Holder(s.working, s.fed.Kube, s.fed.Clock.Now)
	if err != nil {
		return nil, err
	}
	looking := sync.OnceFunc(func() {})
	if holder == "" {
		for _, e := range rebalance.Changes(nil, run) {
			e.Time = s.env.Clock.Now().UTC()
			tell(e)
		}
	} else {
		// Somebody else drives. What they do is shown until they stop and this process takes over.
		fmt.Fprintf(s.env.ErrOut, "%s drives; this process takes over when that one stops\n", holder)
		looking = s.lookOn(tell)
	}
	defer looking()
	driver := &rebalance.Driver{
		RCP: s.fed.Patient, Identity: s.self, Leaving: s.leaving, Logger: slog.New(slog.DiscardHandler),
		Settle: backup.Settle(s.fed.Kube),
		Tell: func(e rebalance.Event) {
			if e.Type != rebalance.EventDriver || e.Driver != holder || e.Message != "" {
				tell(e)
			}
		},
		Step: func(at rebalance.StepName) {
			switch {
			case at == rebalance.LeaseHeld:
				looking()
			case at == rebalance.Rested && !s.live():
				s.leave(satisfied)
			}
		},
		WrapCell: func(_ string, config *rest.Config) { config.WarningHandler = rest.NoWarnings{} },
	}
	return driver.Run(s.working, s.name)
}

// lookOn tells what another driver does, until it is stopped.
func (s *session) lookOn(tell func(rebalance.Event)) (stop func()) {
	ctx, cancel := context.WithCancel(s.working)
	done := make(chan struct{})
	go func() { // ends with ctx, or with the run
		defer close(done)
		_, _ = rebalance.Watch(ctx, s.fed.Patient, s.name, tell) // the driver's own error counts
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// numbered tells events with the numbers of one stream, and notices what they say about the end of it.
func (s *session) numbered(tell func(rebalance.Event)) func(rebalance.Event) {
	return func(e rebalance.Event) {
		s.mu.Lock()
		s.seq++
		e.Seq = s.seq
		switch e.Type {
		case rebalance.EventPhase:
			s.state.phase = e.Phase
		case rebalance.EventStopped:
			s.state.stopped = e.Message
		case rebalance.EventCells: // which comes with advice
			e.Message = s.env.Typed(e.Message)
		}
		s.mu.Unlock()
		tell(e)
	}
}

// halted says whether the run has paused itself because too many units failed.
func (s *session) halted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.stopped != "" && s.state.phase == v1alpha1.RebalancePaused
}

// given says whether err only says that this process left.
func (s *session) given(err error) bool {
	return s.left() != staying && (errors.Is(err, rebalance.ErrLeft) || errors.Is(err, context.Canceled))
}

package events

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// again is how long a source that has broken off is left alone.
const again = time.Second

// line is an event as -w -o json prints it.
type line struct {
	Seq  int64     `json:"seq"`
	TS   time.Time `json:"ts"`
	Type string    `json:"type"`
	Event
	// EventType is Normal or Warning: "type" says what kind of line this is.
	EventType string `json:"eventType"`
}

// follower prints what all sources tell.
type follower struct {
	o *options

	mu  sync.Mutex // guards what follows, and the output
	seq int64
	err error // of printing, the first
	end context.CancelFunc
}

// follow prints what there is and what comes, until ctx ends. A source that breaks off is asked again.
func (o *options) follow(ctx context.Context, sources []*source, missing []string) error {
	for _, m := range missing {
		o.env.Warn("%s", m)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{o: o, end: cancel}
	found, failed := o.collect(ctx, sources)
	for _, m := range failed {
		o.env.Warn("%s", m)
	}
	for _, e := range found {
		f.print(e)
	}
	var all sync.WaitGroup
	for _, s := range sources {
		all.Go(func() { f.source(ctx, s) })
	}
	all.Wait()
	if f.err != nil {
		return f.err
	}
	return ctx.Err()
}

// source follows one control plane, from what is known of it. After a break it goes on where it was; where that is
// forgotten there, it lists anew and prints what is newer.
func (f *follower) source(ctx context.Context, s *source) {
	told, known := false, s.version != ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		var err error
		if !known {
			err = f.catchUp(ctx, s)
		}
		if err == nil {
			err = f.watch(ctx, s)
		}
		if err != nil && ctx.Err() == nil && !told {
			f.o.env.Warn("cell %s: %v; trying again", s.cell, err)
		}
		told, known = err != nil, s.version != "" && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err)
	}, again)
}

// catchUp prints what a source has that is not known, the oldest first.
func (f *follower) catchUp(ctx context.Context, s *source) error {
	events, err := f.o.list(ctx, s)
	slices.SortStableFunc(events, func(a, b Event) int { return a.LastSeen.Compare(b.LastSeen) })
	for _, e := range events {
		f.print(e)
	}
	return err
}

// watch prints until the watch ends; the server ends each one now and then, which is no error.
func (f *follower) watch(ctx context.Context, s *source) error {
	changes, err := s.client.Watch(ctx, metav1.ListOptions{ResourceVersion: s.version, AllowWatchBookmarks: true})
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		event, ok := change.Object.(*corev1.Event)
		if !ok {
			return fmt.Errorf("watch events: %w", apierrors.FromObject(change.Object))
		}
		s.version = event.ResourceVersion
		if change.Type == watch.Deleted || change.Type == watch.Bookmark {
			continue // they expire
		}
		if e := newEvent(s.cell, event); f.o.wanted(e) {
			f.print(e)
		}
	}
	return nil
}

func (f *follower) print(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	var err error
	if f.o.output.Format == "json" {
		err = json.NewEncoder(printers.Verbatim(f.o.env.Out)).Encode(line{Seq: f.seq, TS: f.o.env.Clock.Now(), Type: "event", Event: e, EventType: e.Type})
	} else {
		_, err = fmt.Fprintf(f.o.env.Out, "%s  %-8s  %-7s  %s/%s  %s  %s\n",
			e.LastSeen.Format(time.RFC3339), e.Cell, e.Type, e.Namespace, e.Object, e.Reason, e.text())
	}
	if err != nil && f.err == nil {
		f.err = exit.Errorf(exit.Failure, "print event: %w", err)
		f.end()
	}
}

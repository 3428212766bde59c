package events

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/exit"
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
func (o *options) follow(ctx context.Context, sources []source, missing []string) error {
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
	newest := time.Time{}
	for _, e := range found {
		f.print(e)
		newest = e.LastSeen
	}
	var all sync.WaitGroup
	for _, s := range sources {
		all.Go(func() { f.source(ctx, s, newest) })
	}
	all.Wait()
	if f.err != nil {
		return f.err
	}
	return ctx.Err()
}

// source follows one control plane. After a break it lists anew and goes on behind what it has printed last.
func (f *follower) source(ctx context.Context, s source, printed time.Time) {
	told := false
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		events, version, err := f.o.list(ctx, s)
		if err == nil {
			for _, e := range events {
				if e.LastSeen.After(printed) {
					f.print(e)
					printed = e.LastSeen
				}
			}
			err = f.watch(ctx, s, version, &printed)
		}
		if err != nil && ctx.Err() == nil && !told {
			f.o.env.Warn("cell %s: %v; trying again", s.cell, err)
		}
		told = err != nil
	}, again)
}

// watch prints until the watch ends; the server ends each one now and then.
func (f *follower) watch(ctx context.Context, s source, version string, printed *time.Time) error {
	changes, err := s.client.Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		event, ok := change.Object.(*corev1.Event)
		if change.Type == watch.Deleted || !ok {
			continue // they expire; an error ends the watch
		}
		if e := newEvent(s.cell, event); f.o.wanted(e) {
			f.print(e)
			*printed = e.LastSeen
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
		err = json.NewEncoder(f.o.env.Out).Encode(line{Seq: f.seq, TS: f.o.env.Clock.Now(), Type: "event", Event: e, EventType: e.Type})
	} else {
		_, err = fmt.Fprintf(f.o.env.Out, "%s  %-8s  %-7s  %s/%s  %s  %s\n",
			e.LastSeen.Format(time.RFC3339), e.Cell, e.Type, e.Namespace, e.Object, e.Reason, e.text())
	}
	if err != nil && f.err == nil {
		f.err = exit.Errorf(exit.Failure, "print event: %w", err)
		f.end()
	}
}

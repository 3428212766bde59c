package soak

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// stands is what a restart of a router must not change: a client reaches none for a moment, and goes on where it was.
type stands struct {
	watched  []*follower
	lists    []int64
	refusals []int // how many there were
	written  *counts
	refused  int64
	cuts     int // how many there were
}

// standing waits until each informer has its watch, and takes down what there is.
func standing(t *testing.T, watched []*follower, written *counts) stands {
	t.Helper()
	awaitWatches(t, watched, veryShort)
	out := stands{watched: watched, written: written, refused: written.refused.Load(), cuts: len(written.cuts.list())}
	for _, f := range watched {
		out.lists = append(out.lists, f.lists.Load())
		out.refusals = append(out.refusals, len(f.refused()))
	}
	return out
}

// wantSame wants no informer to have asked for everything again, nobody to have been refused anything, and every write that
// was sent to have been answered, when each has its watch again.
func (s stands) wantSame(t *testing.T, after string) {
	t.Helper()
	awaitWatches(t, s.watched, 0)
	for i, f := range s.watched {
		if n := f.lists.Load() - s.lists[i]; n > 0 {
			t.Errorf("after %s: %s asked for everything %d times; it met: %q", after, f, n, f.refused())
		} else if refused := f.refused()[s.refusals[i]:]; len(refused) > 0 {
			t.Errorf("after %s: %s met: %q", after, f, refused)
		}
	}
	if n := s.written.refused.Load() - s.refused; n > 0 {
		t.Errorf("after %s: %d writes were refused", after, n)
	}
	if met := s.written.cuts.list()[s.cuts:]; len(met) > 0 {
		t.Errorf("after %s: %d writes were sent and not answered, such as %s", after, len(met), met[0])
	}
}

// veryShort is a little more than a watch has to last, or else to tell something, so that a reflector of client-go goes on
// from where it ended.
const veryShort = 1500 * time.Millisecond

// awaitWatches waits until each informer has a watch, for at least so long. After the death of a cell it may wait before it
// asks again.
func awaitWatches(t *testing.T, watched []*follower, lasting time.Duration) {
	t.Helper()
	without := ""
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, settle, true, func(context.Context) (bool, error) {
		for _, f := range watched {
			if without = f.String(); f.open.Load() == 0 || time.Since(time.Unix(0, f.since.Load())) < lasting {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("%s has no watch: %v", without, err)
	}
}

package rebalance

import (
	"strings"
	"testing"
	"time"
)

func TestTheWindowShrinksWithASlowCellAndGrowsBack(t *testing.T) {
	th := newThrottle()
	th.want(40)
	at := time.Unix(0, 0)
	look := func(latency time.Duration, refused int64) {
		at = at.Add(adaptEvery)
		th.look([]load{{cell: "cell-1", writes: enough, latency: latency, refused: refused}}, at)
	}
	at = at.Add(time.Hour)
	look(100*time.Millisecond, 0)
	look(floor, 0)
	if th.now != 40 {
		t.Errorf("window %d at the floor; want 40", th.now)
	}
	look(time.Second, 0)
	if th.now != 40 {
		t.Errorf("window %d after one slow look; want 40", th.now)
	}
	look(time.Second, 0)
	look(time.Second, 0)
	if good, reason, message := th.condition(); th.now != 20 || good || reason != ReasonCellSlow || !strings.Contains(message, "window 20 instead of 40: writes to cell cell-1 take 1s") {
		t.Errorf("window %d, %s, %q; want 20", th.now, reason, message)
	}
	for range 4 {
		look(50*time.Millisecond, 0)
	}
	if th.now != 20 {
		t.Errorf("window %d before it was calm; want 20", th.now)
	}
	for range 60 {
		look(50*time.Millisecond, 0)
	}
	if good, _, _ := th.condition(); th.now != 40 || !good {
		t.Errorf("window %d after a minute of calm; want 40", th.now)
	}
	look(0, 3)
	if _, reason, _ := th.condition(); th.now != 20 || reason != ReasonTooManyRequests {
		t.Errorf("window %d, %s after 429; want 20", th.now, reason)
	}
	th.want(10)
	if good, _, _ := th.condition(); th.now != 10 || !good {
		t.Errorf("window %d; want what is wanted now, 10", th.now)
	}
	for range 40 {
		at = at.Add(time.Minute)
		th.look([]load{{cell: "cell-1", refused: 1}}, at)
	}
	if th.now != 1 {
		t.Errorf("window %d; want 1 at the least", th.now)
	}
}

func TestThePacerSpreadsUnits(t *testing.T) {
	var p pacer
	now := time.Unix(1000, 0)
	end := now.Add(10 * time.Second)
	n := 0
	for now.Before(end) {
		ready, at := p.ready(7, now)
		if !ready {
			now = at
			continue
		}
		p.took(7, now)
		n++
	}
	if n < 70 || n > 72 {
		t.Errorf("%d units in 10 s at 7 a second", n)
	}
	if ready, _ := p.ready(0, now); !ready {
		t.Error("no limit limits")
	}
}

func TestDurations(t *testing.T) {
	var d durations
	if d.quantile(0.5) != 0 || d.writeBlock() != nil {
		t.Error("nothing has quantiles")
	}
	for n := range 1000 {
		d.add(time.Duration(n+1) * time.Millisecond)
	}
	d.add(-time.Second)
	d.add(24 * 365 * time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := d.quantile(q); got < want*99/100 || got > want*110/100 {
			t.Errorf("quantile %v is %s; want %s and up to a tenth more", q, got, want)
		}
	}
	if got := d.quantile(1); got > d.max || got < 12*24*time.Hour {
		t.Errorf("largest is %s; want the last bucket", got)
	}
}

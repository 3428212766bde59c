package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

const (
	// probeInterval is how often each endpoint is asked.
	probeInterval = time.Second
	// probeTimeout is how long it may take to answer.
	probeTimeout = 3 * time.Second
	// probeFailures in a row put an endpoint down.
	probeFailures = 2
	// probeLimit bounds what is read of an answer, in bytes.
	probeLimit = 64 << 10
	// probePath is cheap, exists everywhere and may be read by routers; the version of the list is that of
	// the newest write in the control plane.
	probePath  = "/apis/coordination.k8s.io/v1/namespaces/kubecell-system/leases"
	probeQuery = "limit=1"
	// sampledFor is for how long positions are remembered.
	sampledFor = 15 * time.Minute
)

// Sample is a position of the control plane: its newest write, at some moment between two times.
type Sample struct {
	// Started is when the control plane was asked, Done when it had answered.
	Started, Done time.Time
	// Raw is the resource version that it answered with.
	Raw int64
}

// samples are the newest positions, up to size of them.
type samples struct {
	size int

	mu   sync.Mutex // guards what follows
	ring []Sample
	next int
}

func (s *samples) add(sample Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) < s.size {
		s.ring = append(s.ring, sample)
		return
	}
	s.ring[s.next] = sample
	s.next = (s.next + 1) % s.size
}

// Sampled returns the positions of the last 15 minutes, oldest first. There is about one a second for
// each endpoint that answers; those of one endpoint may be a little behind those of another.
func (c *ControlPlane) Sampled() []Sample {
	c.samples.mu.Lock()
	defer c.samples.mu.Unlock()
	out := make([]Sample, 0, len(c.samples.ring))
	out = append(out, c.samples.ring[c.samples.next:]...)
	return append(out, c.samples.ring[:c.samples.next]...)
}

// LastSample is the position that was asked for last, and false where none is known.
func (c *ControlPlane) LastSample() (Sample, bool) {
	c.samples.mu.Lock()
	defer c.samples.mu.Unlock()
	n := len(c.samples.ring)
	if n == 0 {
		return Sample{}, false
	}
	return c.samples.ring[(c.samples.next+n-1)%n], true
}

// Answered is when an endpoint last answered anything, a probe or a request; zero where none did.
func (c *ControlPlane) Answered() time.Time {
	last := c.probed.Load()
	for _, e := range c.endpoints {
		last = max(last, e.answered.Load())
	}
	if last == 0 {
		return time.Time{}
	}
	return time.Unix(0, last)
}

// Endpoints is how many there are, and how many of them requests are sent to.
func (c *ControlPlane) Endpoints() (all, up int) {
	for _, e := range c.endpoints {
		if !e.down.Load() {
			up++
		}
	}
	return len(c.endpoints), up
}

// Probed is when a probe was last answered; zero where none was.
func (c *ControlPlane) Probed() time.Time {
	if at := c.probed.Load(); at > 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// watchOver probes one endpoint until ctx ends.
func (c *ControlPlane) watchOver(ctx context.Context, e *endpoint) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	failures := 0
	for {
		answers := e.answers.Load()
		sample, err := e.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			c.probed.Store(sample.Done.UnixNano())
			c.up(e)
			if sample.Raw > 0 {
				c.samples.add(sample)
			}
		case e.answers.Load() > answers:
			// Slow with the probe, but it serves.
			failures = 0
		default:
			failures++
			if failures >= probeFailures {
				c.giveUp(e, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// up takes an endpoint that answers into use.
func (c *ControlPlane) up(e *endpoint) {
	if !e.down.Load() && c.down.Load() == nil {
		return
	}
	c.health.Lock()
	defer c.health.Unlock()
	e.down.Store(false)
	c.down.Store(nil)
}

// giveUp takes an endpoint out of use and cuts off what is in flight to it. With the last one the control
// plane is down.
func (c *ControlPlane) giveUp(e *endpoint, why error) {
	c.health.Lock()
	e.down.Store(true)
	if c.allDown() {
		given := &DownError{Since: time.Now(), Err: why}
		if before := c.down.Load(); before != nil {
			given.Since = before.Since
		}
		c.down.Store(given)
	}
	c.health.Unlock()
	// After the reason is known, so that what is cut off can tell it.
	e.cut()
}

func (c *ControlPlane) allDown() bool {
	for _, e := range c.endpoints {
		if !e.down.Load() {
			return false
		}
	}
	return true
}

// ask probes the endpoint once. Any answer of a working apiserver is a good one, a refusal too; only one
// to a list has a position.
func (e *endpoint) ask(ctx context.Context) (Sample, error) {
	sample := Sample{Started: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Accept": {"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
	}}
	r = r.WithContext(ctx)
	r.URL = e.target(probePath, "", probeQuery)
	answer, err := e.probe.RoundTrip(r)
	if err != nil {
		return sample, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, probeLimit))
	if err != nil {
		return sample, fmt.Errorf("read answer to a probe: %w", err)
	}
	sample.Done = time.Now()
	if answer.StatusCode >= http.StatusInternalServerError {
		return sample, fmt.Errorf("it answers a probe with %s", answer.Status)
	}
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if answer.StatusCode == http.StatusOK && json.Unmarshal(body, &list) == nil {
		if raw, err := version.ParseRaw(list.Metadata.ResourceVersion); err == nil {
			sample.Raw = raw
		}
	}
	return sample, nil
}

package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// probeTimeout is how long one apiserver may take to answer one request of a check.
const probeTimeout = 10 * time.Second

// Health is what one look at an apiserver found.
type Health struct {
	// Version such as "v1.36.3".
	Version string
	// Latency of one small request over an open connection.
	Latency time.Duration
	// offset is by how much the server's clock is ahead of this machine's: between these two,
	// because servers tell the time in whole seconds.
	offsetMin, offsetMax time.Duration
}

// Skew is the least difference between the clocks of two servers that what they said allows; the
// clock of this machine cancels out. Differences under a second cannot be seen.
func (h Health) Skew(other Health) time.Duration {
	switch {
	case h.offsetMin > other.offsetMax:
		return h.offsetMin - other.offsetMax
	case other.offsetMin > h.offsetMax:
		return other.offsetMin - h.offsetMax
	}
	return 0
}

// Off is the least difference between the server's clock and this machine's that what it said allows.
func (h Health) Off() time.Duration { return h.Skew(Health{}) }

// Probe asks an apiserver twice for its version: the first request opens the connection, the second
// is timed. /version is answered without credentials, so that a good answer says nothing about these.
func Probe(ctx context.Context, config *rest.Config) (Health, error) {
	timer := &timedTransport{}
	config = rest.CopyConfig(config)
	if config.Timeout == 0 {
		config.Timeout = probeTimeout
	}
	config.QPS, config.Burst = -1, -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		timer.next = next
		return timer
	})
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return Health{}, fmt.Errorf("build discovery client: %w", err)
	}
	var raw []byte
	for range 2 {
		if raw, err = client.RESTClient().Get().AbsPath("/version").Do(ctx).Raw(); err != nil {
			return Health{}, err
		}
	}
	var info version.Info
	if err := json.Unmarshal(raw, &info); err != nil || info.GitVersion == "" {
		return Health{}, errors.Join(errors.New("the answer to /version is not that of an apiserver"), err)
	}
	health := timer.last()
	health.Version = info.GitVersion
	return health, nil
}

// timedTransport measures each request and reads the server's clock off its answer.
type timedTransport struct {
	next http.RoundTripper

	mu     sync.Mutex // guards health
	health Health
}

// RoundTrip implements http.RoundTripper.
func (t *timedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	response, err := t.next.RoundTrip(r)
	received := time.Now()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.health = Health{Latency: received.Sub(sent)}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		// The server wrote down a time in [date, date+1s) at some moment in [sent, received].
		t.health.offsetMin, t.health.offsetMax = date.Sub(received), date.Add(time.Second).Sub(sent)
	} else {
		t.health.offsetMin, t.health.offsetMax = -time.Hour*24*365, time.Hour*24*365
	}
	return response, nil
}

// WrappedRoundTripper lets client-go look through to the transport below.
func (t *timedTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *timedTransport) last() Health {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.health
}

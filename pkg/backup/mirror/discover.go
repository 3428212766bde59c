package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// resource is one to be mirrored.
type resource struct {
	schema.GroupVersionResource
	namespaced bool
	class      placement.Class
	rule       placement.KeyRule
}

// discoverAll has every resource of the cells of the ring followed. It does not wait: a cell that hangs must not keep a new
// state from being adopted.
func (m *Mirror) discoverAll(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.cells {
		if !m.members[name] || c.discovering {
			continue
		}
		c.discovering = true
		c.running.Go(func() {
			m.discover(ctx, c)
			m.mu.Lock()
			defer m.mu.Unlock()
			c.discovering = false
		})
	}
}

// discover asks a cell what it serves, and follows what is new. What it does not serve any more is not followed
// further, if it was able to say everything that it serves; the envelopes stay.
func (m *Mirror) discover(ctx context.Context, c *cell) {
	wanted, err := m.resources(c)
	if err != nil {
		m.config.Logger.Warn("cannot find out all that a cell serves, keeping to what is known", "cell", c.name, "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil || m.cells[c.name] != c || !m.members[c.name] {
		return
	}
	for key, s := range c.streams {
		if now, there := wanted[key]; there && now == s.of() || !there && err != nil {
			delete(wanted, key)
			continue
		}
		m.dropStream(c, key)
	}
	for key, r := range wanted {
		m.follow(ctx, c, key, r)
	}
	if err == nil {
		c.discovered = true
		c.complete()
	}
}

// resources are those to be mirrored that a cell serves, as far as it can say.
func (m *Mirror) resources(c *cell) (map[streamKey]resource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("build discovery client: %w", err)
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		err = fmt.Errorf("discover resources: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[streamKey]resource{}
	for _, list := range lists {
		gv, parseErr := schema.ParseGroupVersion(list.GroupVersion)
		if parseErr != nil {
			continue
		}
		for _, r := range list.APIResources {
			class, rule := m.snapshot().Classes.Of(gv.Group, r.Name, "")
			if class != placement.Sharded && class != placement.Dependent || strings.Contains(r.Name, "/") ||
				!slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "watch") || !slices.Contains(r.Verbs, "create") {
				continue
			}
			out[streamKey{gv.Group, r.Name}] = resource{gv.WithResource(r.Name), r.Namespaced, class, rule}
		}
	}
	return out, err
}

func newStream(c *cell, r resource, stop func()) *stream {
	return &stream{
		cell: c, resource: r.GroupVersionResource, namespaced: r.namespaced, class: r.class, rule: r.rule, stop: stop,
		progress: newProgress(), records: map[name]*holder{}, deaf: c.m.config.Now(),
	}
}

func (s *stream) of() resource { return resource{s.resource, s.namespaced, s.class, s.rule} }

func (m *Mirror) follow(ctx context.Context, c *cell, key streamKey, r resource) {
	ctx, stop := context.WithCancel(ctx)
	s := newStream(c, r, stop)
	c.streams[key] = s
	c.running.Go(func() { s.run(ctx) })
}

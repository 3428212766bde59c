package mirror

import (
	"context"
	"fmt"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// entry is an envelope as it was seen last.
type entry struct {
	// id is what it is the envelope of, zero where that cannot be read.
	id     identity
	source string
	unit   string
	uid    types.UID
	// version is that of the object in it.
	version  int64
	promoted types.UID
	// problem says why it is none, empty for one that is.
	problem string
	// suspect was written by somebody else, and not looked into yet.
	suspect bool
	// gone says that this is not an envelope but the end of one, at secretVersion. No index has it.
	gone bool
	// secret and secretVersion are those of the Secret.
	secret        types.UID
	secretVersion string
}

// entryOf reads the metadata of an envelope.
func entryOf(secret metav1.Object) *entry {
	e := &entry{secret: secret.GetUID(), secretVersion: secret.GetResourceVersion()}
	h, err := envelope.HeaderOf(secret)
	if err != nil {
		e.problem = err.Error()
		return e
	}
	// What many envelopes say is in memory once.
	shared := func(text string) string { return unique.Make(text).Value() }
	e.id = identity{shared(h.Group), shared(h.Resource), shared(h.Namespace), h.Name}
	e.source, e.unit, e.uid, e.version, e.promoted = shared(h.SourceCell), h.Unit, h.UID, versionOf(h.ResourceVersion), h.Promoted
	return e
}

// holds says whether the envelope has a record as it is, or as it is going to be known.
func (e *entry) holds(r *record, unit string) bool {
	return e.source == r.stream.cell.name && e.unit == unit && (e.version > r.version || e.version == r.version && e.uid == r.uid)
}

// newer says whether an entry was read after another one.
func (e *entry) newer(than *entry) bool {
	return than == nil || versionOf(e.secretVersion) > versionOf(than.secretVersion)
}

// put takes an envelope into the index, in the place of the one of that name.
func (c *cell) put(secret string, e *entry) {
	c.drop(secret)
	c.index[secret] = e
	c.count(e, 1)
}

// drop takes an envelope out of the index.
func (c *cell) drop(secret string) {
	if e := c.index[secret]; e != nil {
		delete(c.index, secret)
		c.count(e, -1)
	}
}

func (c *cell) count(e *entry, by int64) {
	if c.sources == nil {
		c.sources = map[string]int64{}
	}
	if e.source != "" {
		c.sources[e.source] += by
	}
}

// bySource counts the envelopes in the cells of the ring by the cells of their objects.
func (m *Mirror) bySource() map[string]int64 {
	out := map[string]int64{}
	for name, c := range m.cells {
		if !m.members[name] {
			continue
		}
		for source, n := range c.sources {
			out[source] += n
		}
	}
	return out
}

// followIndex keeps the index until ctx ends.
func (c *cell) followIndex(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		version, err := c.listIndex(ctx)
		for err == nil {
			began := c.m.config.Now()
			version, err = c.watchIndex(ctx, version)
			if c.m.config.Now().Sub(began) > requestTimeout {
				retry = firstRetry
			}
		}
		if ctx.Err() != nil {
			return
		}
		c.m.config.Logger.Warn("cannot follow the envelopes of a cell, trying again", "cell", c.name, "err", err)
		if pause.For(ctx, retry) != nil {
			return
		}
		retry = min(2*retry, lastRetry)
	}
}

func (c *cell) listIndex(ctx context.Context) (version string, err error) {
	found := map[string]*entry{}
	options := metav1.ListOptions{LabelSelector: envelopesOf, Limit: pageSize}
	for {
		if err := c.pace.wait(ctx); err != nil {
			return "", err
		}
		page, err := c.envelope.List(ctx, options)
		if err != nil {
			return "", fmt.Errorf("list envelopes: %w", err)
		}
		for i := range page.Items {
			found[page.Items[i].Name] = entryOf(&page.Items[i])
		}
		if options.Continue = page.Continue; options.Continue == "" {
			c.m.indexed(c, found, versionOf(page.ResourceVersion))
			return page.ResourceVersion, nil
		}
	}
}

// watchIndex returns the version from which to go on.
func (c *cell) watchIndex(ctx context.Context, version string) (string, error) {
	seconds := int64(watchSeconds)
	w, err := c.longMeta.Resource(envelopes()).Namespace(v1alpha1.Namespace).Watch(ctx, metav1.ListOptions{
		LabelSelector: envelopesOf, ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return "", fmt.Errorf("watch envelopes: %w", err)
	}
	defer w.Stop()
	events := 0
	for event := range w.ResultChan() {
		secret, ok := event.Object.(*metav1.PartialObjectMetadata)
		if !ok || event.Type == watch.Error {
			return "", fmt.Errorf("watch envelopes: %s", describe(event))
		}
		events++
		version = secret.ResourceVersion
		switch event.Type {
		case watch.Deleted:
			c.m.envelopeDeleted(c, secret.Name, version)
		case watch.Added, watch.Modified:
			c.m.envelopeWritten(c, secret.Name, entryOf(secret))
		}
	}
	if events == 0 && ctx.Err() == nil {
		return "", fmt.Errorf("watch envelopes: it ended at once")
	}
	return version, ctx.Err()
}

func describe(event watch.Event) string {
	if status, ok := event.Object.(*metav1.Status); ok {
		return status.Message
	}
	return string(event.Type)
}

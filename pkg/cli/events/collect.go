package events

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/federation"
)

const (
	// answerWithin is how long one control plane may take for its list. People wait.
	answerWithin = 10 * time.Second
	pageSize     = 500
	// rcpName stands for the router control plane in the column CELL.
	rcpName = "@rcp"
)

// Event of one cell. It is an API: fields are only ever added.
type Event struct {
	// Cell that it comes from; @rcp for the router control plane.
	Cell      string `json:"cell"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Type is Normal or Warning.
	Type   string `json:"type"`
	Reason string `json:"reason"`
	// Object is "<Kind>/<name>".
	Object    string    `json:"object"`
	Message   string    `json:"message"`
	Count     int32     `json:"count"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
	// group is that of the object's API; empty where its event does not say it.
	group string
}

func newEvent(cell string, e *corev1.Event) Event {
	out := Event{
		Cell: cell, Namespace: e.Namespace, Name: e.Name, Type: e.Type, Reason: e.Reason,
		Object:  e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name,
		Message: strings.TrimSpace(e.Message), Count: max(1, e.Count),
		FirstSeen: e.FirstTimestamp.Time, LastSeen: e.LastTimestamp.Time,
	}
	if of, err := schema.ParseGroupVersion(e.InvolvedObject.APIVersion); err == nil {
		out.group = of.Group
	}
	// The newer API writes when it was first seen elsewhere, and counts in a series.
	if out.FirstSeen.IsZero() {
		out.FirstSeen = e.EventTime.Time
	}
	if e.Series != nil {
		out.Count, out.LastSeen = e.Series.Count, e.Series.LastObservedTime.Time
	}
	if out.LastSeen.IsZero() {
		out.LastSeen = out.FirstSeen
	}
	if out.LastSeen.IsZero() {
		out.FirstSeen, out.LastSeen = e.CreationTimestamp.Time, e.CreationTimestamp.Time
	}
	return out
}

// source is one control plane.
type source struct {
	cell   string
	client typedv1.EventInterface
	// version is the newest that is known of its events; "" before they were listed.
	version string
}

// sources are the router control plane and every cell that can be asked; the others are named.
func (o *options) sources(ctx context.Context) (out []*source, missing []string, err error) {
	fed, err := o.env.Connect()
	if err != nil {
		return nil, nil, err
	}
	cells, err := federation.Cells(ctx, fed.Config)
	if err != nil {
		return nil, nil, err
	}
	configs := map[string]*rest.Config{rcpName: fed.Config}
	for name, access := range cells {
		if access.Err != nil {
			missing = append(missing, fmt.Sprintf("cell %s: %v", name, access.Err))
			continue
		}
		configs[name] = access.Config
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		kube, err := kubernetes.NewForConfig(configs[name])
		if err != nil {
			missing = append(missing, fmt.Sprintf("cell %s: %v", name, err))
			continue
		}
		out = append(out, &source{cell: name, client: kube.CoreV1().Events(o.namespace)})
	}
	slices.Sort(missing)
	return out, missing, nil
}

// collect lists all sources at once, and returns the events by time and who did not answer.
func (o *options) collect(ctx context.Context, sources []*source) (found []Event, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	lists, errs := make([][]Event, len(sources)), make([]error, len(sources))
	var answers sync.WaitGroup
	for i, s := range sources {
		answers.Go(func() { lists[i], errs[i] = o.list(ctx, s) })
	}
	answers.Wait()
	found = []Event{}
	for i, s := range sources {
		found = append(found, lists[i]...)
		if errs[i] != nil {
			missing = append(missing, fmt.Sprintf("cell %s: %v", s.cell, errs[i]))
		}
	}
	slices.SortStableFunc(found, func(a, b Event) int {
		return cmp.Or(a.LastSeen.Compare(b.LastSeen), strings.Compare(a.Cell, b.Cell), strings.Compare(a.Name, b.Name))
	})
	return found, missing
}

// list returns what is wanted of one source, and newer than what is known of it.
func (o *options) list(ctx context.Context, s *source) (out []Event, err error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := s.client.List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		for i := range page.Items {
			if e := newEvent(s.cell, &page.Items[i]); s.isNews(&page.Items[i]) && o.wanted(e) {
				out = append(out, e)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			s.version = page.ResourceVersion
			return out, nil
		}
	}
}

// isNews says whether an event is newer than what is known. What cannot be compared is shown twice rather than never.
func (s *source) isNews(e *corev1.Event) bool {
	if s.version == "" {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(e.ResourceVersion, s.version)
	return err != nil || order > 0
}

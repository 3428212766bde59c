package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	// pageSize is how many objects' metadata one request asks for.
	pageSize = 500
	// watchSeconds is how long a watch lasts, at least; up to twice as long, so that they do not all end together.
	watchSeconds = 300
)

// errExpired says that events were missed: everything has to be listed again.
var errExpired = errors.New("the position of the watch has expired")

// stream follows the objects of one resource in one cell: a list of metadata, then a watch of whole objects from there. A
// watch costs the cell less than to be asked for each object that has changed, and tells every state in its very version.
type stream struct {
	cell     *cell
	resource schema.GroupVersionResource
	// namespaced is false for a cluster-scoped resource.
	namespaced bool
	class      placement.Class
	rule       placement.KeyRule
	stop       context.CancelFunc

	// What follows is guarded by the mirror's lock.

	// listed is set once everything that there is was told.
	listed bool
	// deaf is since when nobody was told what happens, zero while the watch is open.
	deaf     time.Time
	progress progress
	// records are those of the cell for this resource.
	records map[name]*holder
}

type name struct{ namespace, name string }

// run follows until ctx ends. A cell that does not answer is asked again.
func (s *stream) run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		err := s.list(ctx)
		for err == nil {
			began := s.cell.m.config.Now()
			err = s.watch(ctx)
			if s.cell.m.config.Now().Sub(began) > time.Second {
				retry = firstRetry
			}
		}
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errExpired) {
			s.cell.m.config.Logger.Warn("cannot follow a resource, trying again", "cell", s.cell.name, "resource", s.resource.GroupResource().String(), "err", err)
		}
		if pause.For(ctx, retry) != nil {
			return
		}
		retry = min(2*retry, lastRetry)
	}
}

// selector leaves out the system's namespaces, with all envelopes in them.
func (s *stream) selector() string {
	if !s.namespaced {
		return ""
	}
	return "metadata.namespace!=" + v1alpha1.Namespace + ",metadata.namespace!=" + metav1.NamespaceSystem
}

// list tells everything that there is. A cell that cannot be read whole tells nothing.
func (s *stream) list(ctx context.Context) error {
	var found []*metadata
	options := metav1.ListOptions{Limit: pageSize, FieldSelector: s.selector()}
	for {
		if err := s.cell.pace.wait(ctx); err != nil {
			return err
		}
		began := s.cell.m.config.Now()
		page, err := s.cell.meta.Resource(s.resource).List(ctx, options)
		s.cell.pace.observe(s.cell.m.config.Now().Sub(began), err)
		if err != nil {
			return fmt.Errorf("list %s: %w", s.resource.GroupResource(), err)
		}
		for i := range page.Items {
			found = append(found, metadataOf(&page.Items[i]))
		}
		if options.Continue = page.Continue; options.Continue == "" {
			s.cell.m.replace(s, found, versionOf(page.ResourceVersion))
			return nil
		}
	}
}

// path is that of the resource: in one namespace, or in all of them and outside where it is "".
func (s *stream) path(namespace string) string {
	path := "/apis/" + s.resource.Group + "/" + s.resource.Version
	if s.resource.Group == "" {
		path = "/api/" + s.resource.Version
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + s.resource.Resource
}

// watch tells what happens, until the watch ends. nil means that it can go on where it was.
func (s *stream) watch(ctx context.Context) error {
	body, err := s.cell.long.Get().AbsPath(s.path("")).
		Param("watch", "1").Param("allowWatchBookmarks", "true").Param("fieldSelector", s.selector()).
		Param("resourceVersion", strconv.FormatInt(s.cell.m.position(s), 10)).
		Param("timeoutSeconds", strconv.Itoa(watchSeconds+rand.Intn(watchSeconds))).
		Stream(ctx)
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return errExpired
		}
		return fmt.Errorf("watch %s: %w", s.resource.GroupResource(), err)
	}
	defer body.Close()
	s.cell.m.listens(s, true)
	defer s.cell.m.listens(s, false)
	decoder := json.NewDecoder(body)
	for events := 0; ; events++ {
		var e struct {
			Type   watch.EventType `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, io.EOF) && events > 0 {
				return nil
			}
			return fmt.Errorf("watch %s: %w", s.resource.GroupResource(), err)
		}
		if err := s.tell(e.Type, e.Object); err != nil {
			return err
		}
	}
}

func (s *stream) tell(kind watch.EventType, body []byte) error {
	if kind == watch.Error {
		var status metav1.Status
		if err := json.Unmarshal(body, &status); err != nil {
			return fmt.Errorf("decode the end of a watch: %w", err)
		}
		err := apierrors.FromObject(&status)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return errExpired
		}
		return err
	}
	meta, err := parseMetadata(body)
	if err != nil {
		return err
	}
	version := versionOf(meta.ResourceVersion)
	if version == 0 {
		return fmt.Errorf("watch %s: an object has the version %q", s.resource.GroupResource(), meta.ResourceVersion)
	}
	switch kind {
	case watch.Bookmark:
		s.cell.m.bookmark(s, version)
	case watch.Deleted:
		s.cell.m.deleted(s, meta, version)
	default:
		s.cell.m.changed(s, meta, version, body)
	}
	return nil
}

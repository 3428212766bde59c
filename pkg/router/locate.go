package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/metadata"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// errLookAgain says that an object was seen in the middle of a step.
var errLookAgain = errors.New("look again")

// clearTimeout is how long to wait for a tombstone to go.
const clearTimeout = 5 * time.Second

// whereabouts is where an object on the move is.
type whereabouts struct {
	// source is the cell in which it is, or in which it would be made.
	source string
	// object is it there, nil where it does not exist.
	object *metav1.PartialObjectMetadata
	// busy is true while it is being copied: it can be read and not be written.
	busy bool
	// stale is what lies in the place of an object that does not exist: a tombstone, or a copy that nobody owns.
	stale *metav1.PartialObjectMetadata
}

// locate looks at the object's metadata where its key moves from, and where it moves to if need be.
func (m *moving) locate(to route.Route) (whereabouts, error) {
	old, oldErr := m.metadata(to.Sources[0])
	at := whereabouts{source: to.Sources[0]}
	if len(to.Sources) == 1 {
		if oldErr != nil {
			return at, oldErr
		}
		at.is(old)
		return at, nil
	}
	if oldErr == nil && old != nil && counts(old) {
		at.is(old)
		return at, nil
	}
	now, err := m.metadata(to.Sources[1])
	if err != nil {
		return at, err
	}
	at = whereabouts{source: to.Sources[1]}
	at.is(now)
	switch moved := old != nil && statusOf(old) == v1alpha1.Migrated; {
	case oldErr != nil && (at.object == nil || at.busy):
		// Only an object that has arrived speaks for a cell that does not answer.
		return at, oldErr
	case moved && at.stale != nil && statusOf(now) == v1alpha1.Migrated:
		return at, errLookAgain // the other way round meanwhile
	case moved && at.stale != nil:
		at.object, at.busy, at.stale = now, true, nil // it has arrived, and is about to be told
	case at.stale != nil && statusOf(now) == v1alpha1.Incoming:
		at.busy = true // the original was deleted in the middle; the run takes the copy away
	}
	return at, nil
}

// is notes what was found at the source: nil, or an object in any state.
func (at *whereabouts) is(object *metav1.PartialObjectMetadata) {
	if object == nil {
		return
	}
	switch statusOf(object) {
	case v1alpha1.Migrated, v1alpha1.Incoming:
		at.stale = object
	case v1alpha1.Migrating:
		at.object, at.busy = object, true
	default:
		at.object = object
	}
}

func statusOf(object metav1.Object) v1alpha1.RebalanceStatus {
	return v1alpha1.RebalanceStatus(object.GetLabels()[v1alpha1.LabelRebalanceStatus])
}

// counts says whether it is the object: no tombstone, and no copy that has still to arrive.
func counts(object metav1.Object) bool {
	status := statusOf(object)
	return status != v1alpha1.Migrated && status != v1alpha1.Incoming
}

// metadata is that of the object in one cell, nil where it is not there.
func (m *moving) metadata(source string) (*metav1.PartialObjectMetadata, error) {
	found, err := metadataIn(m.r.Context(), m.state, m.info, source)
	if err != nil {
		return nil, noPlane(source, err)
	}
	return found, nil
}

// metadataIn is that of the object that info names in one control plane, nil where it is not there.
func metadataIn(ctx context.Context, state *feed.State, info *request.RequestInfo, source string) (*metav1.PartialObjectMetadata, error) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return nil, err
	}
	found, err := plane.Metadata().Resource(resourceOf(info)).Namespace(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	return found, err
}

func resourceOf(info *request.RequestInfo) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource}
}

// makeRoom has an object made where a tombstone lies, which may be the last copy of what has moved to a cell that is lost.
// So the request is tried elsewhere first, and the tombstone stays where it is a dry run or would be refused. It is false
// where the client has its answer.
func (m *moving) makeRoom(at whereabouts, goal *target) bool {
	elsewhere := m.elsewhere()
	if tries(m.w, m.r, m.info) {
		goal.source = elsewhere
		return true
	}
	tried := m.exchange(m.w, m.r, m.state, m.info, target{source: elsewhere, dryRun: true})
	switch {
	case tried == nil:
		return false
	case tried.answer.StatusCode >= http.StatusMultipleChoices:
		tried.answerTo(m.w)
		return false
	}
	tried.discard()
	if err := m.clear(at); err != nil {
		m.fail(m.w, m.r, err)
		return false
	}
	return true
}

// elsewhere is a cell that has nothing under the object's name, or the RCP where there is none: what it says to a dry run
// is what a cell would say in which nothing is in the way.
func (m *moving) elsewhere() string {
	for _, cell := range m.state.Snapshot.Table.Cells() {
		if found, err := m.metadata(cell); err == nil && found == nil {
			return cell
		}
	}
	return route.RCP
}

// clear deletes a tombstone, or a copy that nobody owns, as it was found: it keeps its UID if it becomes the object
// meanwhile. What it owned stays, and no controller of its finalizers gets past the fence.
func (m *moving) clear(at whereabouts) error {
	plane, err := m.state.ControlPlane(at.source)
	if err != nil {
		return noPlane(at.source, err)
	}
	ctx, cancel := context.WithTimeout(m.r.Context(), clearTimeout)
	defer cancel()
	place := plane.Mover().Resource(resourceOf(m.info)).Namespace(m.info.Namespace)
	err = remove(ctx, place, at.stale)
	switch {
	case apierrors.IsNotFound(err):
	case apierrors.IsConflict(err):
		return route.Moving(m.info)
	case err != nil:
		return noPlane(at.source, err)
	}
	// It goes once the cell's garbage collector has let go of what it owned.
	err = wait.PollUntilContextCancel(ctx, lookPause, true, func(ctx context.Context) (bool, error) {
		left, err := place.Get(ctx, m.info.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err) || err == nil && left.UID != at.stale.UID, nil
	})
	if err != nil {
		return route.Moving(m.info)
	}
	return nil
}

// remove deletes what the mover has left, unless it has changed. Of what is being deleted already the garbage collector takes
// its own finalizers off.
func remove(ctx context.Context, place metadata.ResourceInterface, left *metav1.PartialObjectMetadata) error {
	version := left.ResourceVersion
	kept := migration.FinalizersToKeep(left.Finalizers, left.DeletionTimestamp != nil)
	if len(kept) < len(left.Finalizers) {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": left.UID, "resourceVersion": version, "finalizers": kept}})
		if err != nil {
			return err
		}
		released, err := place.Patch(ctx, left.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return err
		}
		version = released.ResourceVersion
	}
	orphan := metav1.DeletePropagationOrphan
	return place.Delete(ctx, left.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &left.UID, ResourceVersion: &version}, PropagationPolicy: &orphan,
	})
}

// keepBody reads the body of a request, so that it can be sent more than once. It is nil where there is none.
func keepBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return body, nil
}

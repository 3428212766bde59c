package router

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// knownOwners bounds how many owners are remembered.
	knownOwners = 10_000
	// maxOwners is how many owners of one object are looked for.
	maxOwners = 64
	// ownersTimeout bounds how long that takes.
	ownersTimeout = 10 * time.Second
)

// owners remembers in which control plane an owner was found, by its UID, which is never used again.
type owners struct {
	mu sync.Mutex
	// homes is guarded by mu.
	homes map[types.UID]string
}

func (o *owners) home(uid types.UID) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.homes[uid]
}

// known are the control planes in which these owners were found before, "" for one that was not.
func (o *owners) known(owners []metav1.OwnerReference) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]string, len(owners))
	for i, owner := range owners {
		out[i] = o.homes[owner.UID]
	}
	return out
}

func (o *owners) remember(uid types.UID, home string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.homes == nil || len(o.homes) >= knownOwners {
		o.homes = make(map[types.UID]string)
	}
	o.homes[uid] = home
}

// refuseFarOwners refuses a write that would make an object the dependent of one in another control plane.
// A cell's garbage collector sees its own cell alone: it would take the owner for deleted, and delete the
// dependent. An owner that exists nowhere is left to it; one that may be where nobody answers is waited for. Owners are
// looked for with the router's own rights, and so for nobody who may not write the body; where all are known to be in the
// control plane that the write is for, nobody is asked.
func (h *handler) refuseFarOwners(r *http.Request, state *feed.State, plane *upstream.ControlPlane, info *request.RequestInfo, contentType string, body []byte) error {
	if info.Subresource != "" {
		return nil
	}
	owners := ownersToFind(contentType, body)
	far := func(home string) bool { return home != plane.Name() }
	if len(owners) <= maxOwners && !slices.ContainsFunc(h.owners.known(owners), far) {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), ownersTimeout)
	defer cancel()
	switch denied, err := denies(ctx, r, state, plane.Name()); {
	case err != nil:
		return err
	case denied:
		return nil // it says so itself
	case len(owners) > maxOwners:
		return apierrors.NewInvalid(schema.GroupKind{Group: info.APIGroup, Kind: info.Resource}, info.Name, field.ErrorList{
			field.TooMany(field.NewPath("metadata", "ownerReferences"), len(owners), maxOwners),
		})
	}
	for _, owner := range owners {
		home, err := h.homeOf(ctx, state, owner, info.Namespace, plane.Name())
		if err != nil {
			return err
		}
		if home == "" || home == plane.Name() {
			continue
		}
		where := "in cell " + home
		if home == route.RCP {
			where = "in the router control plane"
		}
		return apierrors.NewInvalid(schema.GroupKind{Group: info.APIGroup, Kind: info.Resource}, info.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "ownerReferences"), owner.Kind+"/"+owner.Name, fmt.Sprintf(
				"the owner is %s and this object is placed in cell %s, whose garbage collector would delete it; "+
					"give both the same key, or keep the namespace in one cell with the key rule Namespace", where, plane.Name())),
		})
	}
	return nil
}

// withOwner returns the control plane of the first owner that a create names, "" where there is none: what
// has no place of its own is made where its owner is. The request keeps its body.
func (h *handler) withOwner(r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) string {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return ""
	}
	owners := ownersToFind(r.Header.Get("Content-Type"), body)
	if len(owners) == 0 || len(owners) > maxOwners {
		return "" // too many of them the write that follows is refused
	}
	ctx, cancel := context.WithTimeout(r.Context(), ownersTimeout)
	defer cancel()
	if slices.Contains(h.owners.known(owners), "") {
		// The cell that would serve it is not known yet; they have the same RBAC.
		if denied, err := denies(ctx, r, state, sources...); denied || err != nil {
			return ""
		}
	}
	for _, owner := range owners {
		// Where nobody knows it, the write that follows is refused.
		if home, err := h.homeOf(ctx, state, owner, info.Namespace, sources[0]); err == nil && slices.Contains(sources, home) {
			return home
		}
	}
	return ""
}

// ownersToFind are the owners that a body names, each once.
func ownersToFind(contentType string, body []byte) []metav1.OwnerReference {
	known := map[types.UID]bool{}
	return slices.DeleteFunc(ownersIn(contentType, body), func(owner metav1.OwnerReference) bool {
		again := known[owner.UID]
		known[owner.UID] = true
		return again
	})
}

// homeOf finds the control plane that has an owner, "" where none has it. first is asked first, and the others only where
// it is not there. The error is that of one that may have it and does not answer.
func (h *handler) homeOf(ctx context.Context, state *feed.State, owner metav1.OwnerReference, namespace, first string) (string, error) {
	if home := h.owners.home(owner.UID); home != "" {
		return home, nil
	}
	gv, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return "", nil //nolint:nilerr // the control plane refuses it
	}
	// A guess: a kind whose plural it misses is taken for one that exists nowhere.
	resource, _ := meta.UnsafeGuessKindToResource(gv.WithKind(owner.Kind))
	if !isResource(resource) {
		return "", nil // the control plane refuses it, too
	}
	sources := append([]string{first}, slices.DeleteFunc(append(state.Snapshot.Table.Cells(), route.RCP), func(s string) bool { return s == first })...)
	found, failed := make([]bool, len(sources)), make([]error, len(sources))
	ask := func(i int) { found[i], failed[i] = has(ctx, state, sources[i], resource, owner, namespace) }
	if ask(0); !found[0] {
		var asked sync.WaitGroup
		for i := range sources[1:] {
			asked.Go(func() { ask(i + 1) })
		}
		asked.Wait()
	}
	if i := slices.Index(found, true); i >= 0 {
		h.owners.remember(owner.UID, sources[i])
		return sources[i], nil
	}
	for i, err := range failed {
		if err != nil && mayOwn(state.Snapshot, sources[i], resource.GroupResource(), namespace, owner.Name) {
			return "", noPlane(sources[i], err)
		}
	}
	return "", nil
}

// isResource says whether this can be the name of a resource: it becomes a part of a path, of which a client has the parts.
func isResource(r schema.GroupVersionResource) bool {
	return len(validation.IsDNS1035Label(r.Resource)) == 0 && len(validation.IsDNS1035Label(r.Version)) == 0 &&
		(r.Group == "" || len(validation.IsDNS1123Subdomain(r.Group)) == 0)
}

// mayOwn says whether an owner that exists may be in a control plane, by its class.
func mayOwn(snap *routing.Snapshot, source string, resource schema.GroupResource, namespace, name string) bool {
	switch class, key := snap.Classes.Of(resource.Group, resource.Resource, namespace); class {
	case placement.Sharded:
		p, placed := snap.Table.Lookup(key, namespace, name)
		return placed && (source == p.Old() || source == p.New())
	case placement.Dependent, placement.Local:
		return source != route.RCP
	}
	return source == route.RCP
}

// has says whether a control plane has the owner, in the namespace of its dependent or in none. The error says that it
// does not tell.
func has(ctx context.Context, state *feed.State, source string, resource schema.GroupVersionResource, owner metav1.OwnerReference, namespace string) (bool, error) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return false, err
	}
	for _, ns := range []string{namespace, ""} {
		found, err := plane.Dynamic().Resource(resource).Namespace(ns).Get(ctx, owner.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			return found.GetUID() == owner.UID, nil
		case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown, apierrors.IsServiceUnavailable(err),
			apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.IsInternalError(err), apierrors.IsTooManyRequests(err):
			return false, err
		}
	}
	return false, nil
}

// owned is what can carry owner references, as a whole object or as a merge patch.
type owned struct {
	Metadata struct {
		OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
	} `json:"metadata"`
}

// ownersIn returns the owners that a body names. Of one that does not parse there are none: the apiserver
// refuses it.
func ownersIn(contentType string, body []byte) []metav1.OwnerReference {
	media, known := wire.MediaType(contentType)
	if !known {
		return nil
	}
	if media == runtime.ContentTypeProtobuf {
		raw, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
		var unknown runtime.Unknown
		var object metav1.PartialObjectMetadata
		if !ok || unknown.Unmarshal(raw) != nil || object.Unmarshal(unknown.Raw) != nil {
			return nil
		}
		return object.OwnerReferences
	}
	if !bytes.Contains(body, []byte("ownerReferences")) && !bytes.Contains(body, []byte(`\u`)) {
		return nil
	}
	if media == string(types.JSONPatchType) {
		return ownersInOperations(body)
	}
	if strings.Contains(media, "yaml") {
		converted, err := yaml.YAMLToJSON(body)
		if err != nil {
			return nil
		}
		body = converted
	}
	var object owned
	if kjson.Unmarshal(body, &object) != nil {
		return nil
	}
	return object.Metadata.OwnerReferences
}

// ownersInOperations reads a JSON patch: what it adds at or below the owner references, or with all of the
// metadata.
func ownersInOperations(body []byte) []metav1.OwnerReference {
	var operations []struct {
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if kjson.Unmarshal(body, &operations) != nil {
		return nil
	}
	var out []metav1.OwnerReference
	for _, o := range operations {
		var object owned
		var one metav1.OwnerReference
		path := o.Path
		if first := strings.Index(path, "/"); first > 0 {
			path = path[first:] // an apiserver does not look at what is before the first slash
		}
		switch {
		case path == "":
			_ = kjson.Unmarshal(o.Value, &object) // what is of another shape names no owner
		case path == "/metadata":
			_ = kjson.Unmarshal(o.Value, &object.Metadata)
		case path == "/metadata/ownerReferences":
			_ = kjson.Unmarshal(o.Value, &object.Metadata.OwnerReferences)
		case strings.HasPrefix(path, "/metadata/ownerReferences/"):
			if kjson.Unmarshal(o.Value, &one) == nil && one.UID != "" {
				out = append(out, one)
			}
		}
		out = append(out, object.Metadata.OwnerReferences...)
	}
	return out
}

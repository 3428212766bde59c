package router

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// groupOperators may set this project's marks through a router, to mend by hand what is broken. Nobody is
// in it unless an administrator says so, not even the group system:masters.
const groupOperators = "kubecell:operators"

// errStale is what an apiserver says of a write of an object that has changed since.
var errStale = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// mark is a label or annotation of this project's own, by which objects are found, hidden and moved.
type mark struct {
	annotation bool
	key        string
}

// reservedMarks are all of them.
func reservedMarks() []mark {
	return []mark{
		{false, v1alpha1.LabelRebalanceStatus},
		{false, v1alpha1.LabelBackupCell},
		{true, v1alpha1.AnnotationReplicatedFrom},
		{true, v1alpha1.AnnotationAdopts},
		{true, v1alpha1.AnnotationPlacementEpoch},
		{true, v1alpha1.AnnotationPromotedFrom},
		{true, v1alpha1.AnnotationQuotaPart},
	}
}

func (m mark) String() string {
	if m.annotation {
		return "annotation " + m.key
	}
	return "label " + m.key
}

// of returns the mark's value on an object, nil where it has none.
func (m mark) of(object metav1.Object) *string {
	marks := object.GetLabels()
	if m.annotation {
		marks = object.GetAnnotations()
	}
	if value, there := marks[m.key]; there {
		return &value
	}
	return nil
}

// errElsewhere says that what lies in the cell is a tombstone or a copy that does not count yet, and not the object.
var errElsewhere = errors.New("the object is elsewhere, or nowhere")

// guarded is a write whose body may change marks.
type guarded struct {
	info  *request.RequestInfo
	media string
	body  []byte
	// manager is the field manager that the client names.
	manager string
	// moved is false where nothing can have been moved to, so that no object has marks that could be dropped
	// without being named: at the RCP, and as long as the ring is the first one.
	moved bool
	// sought is set where the object is looked for elsewhere, if it is not what lies here: the error is errElsewhere then.
	sought bool
	// translate makes the control plane's versions of those in the body; nil where they are its own.
	translate func(version string) (string, error)
}

// guard refuses a write that would change a mark of this project's on the object itself, and returns the body
// to send for any other.
//
// A client that reads and writes back sends the marks along, and passes. One that replaces the whole object, or
// applies it, and does not know of marks, keeps them: they are carried over into its body. A patch that would
// take them away, by name or with all labels or annotations, is refused. One that is about an object as it was before
// it moved, or before another one got its name, is told so: it forges nothing.
//
// To look at the live object is a trip to the control plane. It is made where the body names a mark, and, once
// the ring has moved something, for what could drop one.
func (h *handler) guard(r *http.Request, plane *upstream.ControlPlane, g guarded) ([]byte, error) {
	carries := g.moved && g.replaces()
	if !carries && !g.suspicious() {
		return g.body, nil
	}
	if who, ok := request.UserFrom(r.Context()); ok && slices.Contains(who.GetGroups(), groupOperators) {
		return g.body, nil
	}
	claims, err := claimsOf(g.media, g.body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if !g.moved {
		claims = slices.DeleteFunc(claims, func(c claim) bool { return c.implied })
	}
	if len(claims) == 0 && !carries {
		return g.body, nil
	}
	live, err := g.live(r, plane)
	switch {
	case err != nil:
		return nil, err
	case g.sought && !counts(live):
		return nil, errElsewhere
	}
	for _, c := range claims {
		if !c.holds(live) {
			if err := h.authorize(r); err != nil {
				return nil, err // or it would tell whether there is such an object
			}
			return nil, g.refusal(c, live)
		}
	}
	if missing := g.missing(live, claims); carries && len(missing) > 0 {
		return withMarks(g.media, g.body, live, missing)
	}
	return g.body, nil
}

// refusal is the answer to a claim that does not hold.
func (g *guarded) refusal(c claim, live metav1.Object) error {
	resource := schema.GroupResource{Group: g.info.APIGroup, Resource: g.info.Resource}
	switch {
	case g.stale(live):
		return apierrors.NewConflict(resource, g.info.Name, errStale)
	case live.GetUID() == "" && g.info.Verb == "update":
		return apierrors.NewNotFound(resource, g.info.Name)
	}
	return apierrors.NewForbidden(resource, g.info.Name, fmt.Errorf("the %s is for the federation alone to set", c.mark))
}

// stale says whether the body names, as its condition, a version that the live object does not have.
func (g *guarded) stale(live metav1.Object) bool {
	stale := false
	_, err := wire.RewriteVersions(g.media, g.body, func(named string) (string, error) {
		own := named
		var err error
		if g.translate != nil {
			own, err = g.translate(named)
		}
		stale = stale || own != "0" && live.GetUID() != "" && own != live.GetResourceVersion()
		return own, err
	})
	return err == nil && stale
}

// replaces says whether the body is all that will be left of the object, or of what its manager has applied.
func (g *guarded) replaces() bool {
	switch g.info.Verb {
	case "update":
		return g.info.Subresource != "scale" // which is an object of another kind, without marks
	case "patch":
		return g.media == string(types.ApplyYAMLPatchType)
	}
	return false
}

// suspicious says whether a body may have a mark in it, plainly or hidden behind an escape, or may drop all
// labels or annotations.
func (g *guarded) suspicious() bool {
	if bytes.Contains(g.body, []byte(v1alpha1.GroupName)) {
		return true
	}
	switch g.media {
	case runtime.ContentTypeProtobuf:
		return false
	case runtime.ContentTypeYAML, string(types.ApplyYAMLPatchType):
		return bytes.ContainsAny(g.body, "\\!\x00")
	case string(types.JSONPatchType):
		return true
	case string(types.MergePatchType), string(types.StrategicMergePatchType):
		if bytes.Contains(g.body, []byte("null")) || bytes.Contains(g.body, []byte(`"$`)) {
			return true
		}
	}
	return bytes.Contains(g.body, []byte(`\u`))
}

// live is the object as it is, empty where it is not there.
func (g *guarded) live(r *http.Request, plane *upstream.ControlPlane) (metav1.Object, error) {
	if g.info.Verb == "create" && g.info.Subresource == "" {
		return &metav1.ObjectMeta{}, nil
	}
	resource := schema.GroupVersionResource{Group: g.info.APIGroup, Version: g.info.APIVersion, Resource: g.info.Resource}
	found, err := plane.Metadata().Resource(resource).Namespace(objectNamespace(g.info)).Get(r.Context(), g.info.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		return found, nil
	case apierrors.IsNotFound(err):
		return &metav1.ObjectMeta{}, nil
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		return nil, noPlane(plane.Name(), err)
	}
	return nil, err
}

// missing are the marks of the live object that the body would take away by not having them. Of an applied
// configuration those are the ones that its manager has applied before.
func (g *guarded) missing(live metav1.Object, claims []claim) []mark {
	return slices.DeleteFunc(reservedMarks(), func(m mark) bool {
		return m.of(live) == nil ||
			slices.ContainsFunc(claims, func(c claim) bool { return c.mark == m }) ||
			g.info.Verb == "patch" && !applied(live, g.manager, m)
	})
}

// applied says whether a manager has applied a mark, and so takes it away when it applies again without it.
func applied(live metav1.Object, manager string, m mark) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply &&
			strings.Contains(entry.FieldsV1.GetRawString(), "f:"+m.key) {
			return true
		}
	}
	return false
}

// unforgedAtRCP looks at a write of a Replicated object, whose truth is at the RCP and has no marks.
func (h *handler) unforgedAtRCP(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) (*http.Request, error) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return r, noPlane(route.RCP, err)
	}
	return h.unforged(w, r, rcp, guarded{info: info})
}

// unforged reads the body of a write and guards it. The request that it returns has the body still before it, which
// names versions as the control plane does.
func (h *handler) unforged(w http.ResponseWriter, r *http.Request, plane *upstream.ControlPlane, g guarded) (*http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	body, err := readBody(w, r)
	if err != nil {
		return r, err
	}
	g.body = body
	if g.media, err = mediaOf(r, g.info, body); err != nil {
		return r, err
	}
	if body, err = h.guard(r, plane, g); err != nil {
		return r, err
	}
	out := r.WithContext(r.Context())
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return out, nil
}

// mediaOf is how a body is encoded. What cannot be understood here is refused, in the apiserver's own words:
// nothing that was not looked at is passed on.
func mediaOf(r *http.Request, info *request.RequestInfo, body []byte) (string, error) {
	media, known := wire.MediaType(r.Header.Get("Content-Type"))
	if known || len(body) == 0 {
		return media, nil
	}
	accepted := []string{runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf}
	if info.Verb == "patch" {
		accepted = []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType)}
	}
	return "", negotiation.NewUnsupportedMediaTypeError(accepted)
}

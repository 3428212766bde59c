package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// groupOperators may set this project's marks through a router, to mend by hand what is broken. Nobody is
// in it unless an administrator says so, not even the group system:masters.
const groupOperators = "kubecell:operators"

// reserved says whether a label or annotation is this project's own mark, by which objects are found,
// hidden and moved.
func reserved(key string) bool {
	switch key {
	case v1alpha1.LabelRebalanceStatus, v1alpha1.LabelBackupCell,
		v1alpha1.AnnotationReplicatedFrom, v1alpha1.AnnotationPlacementEpoch:
		return true
	}
	return false
}

// claim is a mark that a body sets; nil takes it away.
type claim struct {
	annotation bool
	key        string
	value      *string
}

func (c claim) String() string {
	if c.annotation {
		return "annotation " + c.key
	}
	return "label " + c.key
}

// refuseForgery refuses a write that would change a mark of this project's on the object itself. One that
// leaves it as it is passes, since a client that reads and writes back sends it along. To look is
// expensive and is done only where the body has the group's name in it.
func (h *handler) refuseForgery(r *http.Request, plane *upstream.ControlPlane, info *request.RequestInfo, contentType string, body []byte) error {
	if !suspicious(contentType, body) {
		return nil
	}
	if who, ok := request.UserFrom(r.Context()); ok && slices.Contains(who.GetGroups(), groupOperators) {
		return nil
	}
	claims := claimsOf(contentType, body)
	if len(claims) == 0 {
		return nil
	}
	resource := schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource}
	var live metav1.Object = &metav1.ObjectMeta{}
	if info.Verb != "create" || info.Subresource != "" {
		found, err := plane.Dynamic().Resource(resource).Namespace(objectNamespace(info)).Get(r.Context(), info.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			live = found
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	for _, c := range claims {
		marks := live.GetLabels()
		if c.annotation {
			marks = live.GetAnnotations()
		}
		if value, there := marks[c.key]; there != (c.value != nil) || there && value != *c.value {
			return apierrors.NewForbidden(resource.GroupResource(), info.Name, fmt.Errorf("the %s is for the federation alone to set", c))
		}
	}
	return nil
}

// unforged reads the body of a write of a Replicated object, whose truth is at the RCP, and refuses one that
// would change a mark. The request that it returns has the body still before it.
func (h *handler) unforged(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) (*http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return r, noPlane(route.RCP, err)
	}
	body, err := readBody(w, r)
	if err != nil {
		return r, err
	}
	if err := h.refuseForgery(r, rcp, info, r.Header.Get("Content-Type"), body); err != nil {
		return r, err
	}
	out := r.WithContext(r.Context())
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return out, nil
}

// suspicious says whether a body may have a mark in it: plainly, or hidden behind an escape.
func suspicious(contentType string, body []byte) bool {
	if bytes.Contains(body, []byte(v1alpha1.GroupName)) {
		return true
	}
	switch {
	case strings.Contains(contentType, "protobuf"):
		return false
	case strings.Contains(contentType, "yaml"):
		return bytes.ContainsAny(body, "\\!\x00")
	}
	return bytes.Contains(body, []byte(`\u`))
}

// claimsOf returns the marks that a body sets. Of one that does not parse there are none: the apiserver
// refuses it.
func claimsOf(contentType string, body []byte) []claim {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = runtime.ContentTypeJSON
	}
	switch {
	case media == runtime.ContentTypeProtobuf:
		return claimsInProtobuf(body)
	case media == string(types.JSONPatchType):
		return claimsInOperations(body)
	case strings.Contains(media, "yaml"):
		if body, err = yaml.YAMLToJSON(body); err != nil {
			return nil
		}
	}
	var object marked
	if kjson.Unmarshal(body, &object) != nil {
		return nil
	}
	return object.Metadata.claims()
}

// marked is what can carry marks, as a whole object or as a patch of one. A null in a patch takes away.
type marked struct {
	Metadata marks `json:"metadata"`
}

type marks struct {
	Labels      map[string]*string `json:"labels"`
	Annotations map[string]*string `json:"annotations"`
}

func (m marks) claims() []claim {
	var out []claim
	for key, value := range m.Labels {
		if reserved(key) {
			out = append(out, claim{key: key, value: value})
		}
	}
	for key, value := range m.Annotations {
		if reserved(key) {
			out = append(out, claim{annotation: true, key: key, value: value})
		}
	}
	return out
}

// claimsInProtobuf reads the metadata, which is field 1 of every kind in the Kubernetes API.
func claimsInProtobuf(body []byte) []claim {
	raw, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	var unknown runtime.Unknown
	var object metav1.PartialObjectMetadata
	if !ok || unknown.Unmarshal(raw) != nil || object.Unmarshal(unknown.Raw) != nil {
		return nil
	}
	var m marks
	m.Labels, m.Annotations = pointers(object.Labels), pointers(object.Annotations)
	return m.claims()
}

func pointers(in map[string]string) map[string]*string {
	out := make(map[string]*string, len(in))
	for key, value := range in {
		out[key] = &value
	}
	return out
}

// claimsInOperations reads a JSON patch. What an operation makes of a mark is told from its last step:
// the operations that follow it do not matter, since each of them is a claim of its own.
func claimsInOperations(body []byte) []claim {
	var operations []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		From  string          `json:"from"`
		Value json.RawMessage `json:"value"`
	}
	if kjson.Unmarshal(body, &operations) != nil {
		return nil
	}
	var out []claim
	for _, o := range operations {
		switch o.Op {
		case "add", "replace":
			out = append(out, claimsAt(o.Path, o.Value)...)
		case "remove":
			out = append(out, claimsAt(o.Path, nil)...)
		case "move", "copy":
			// A value that is not in the patch is never known to be the one that is there.
			unknown := json.RawMessage(`"(moved or copied)"`)
			out = append(out, claimsAt(o.Path, unknown)...)
			if o.Op == "move" {
				out = append(out, claimsAt(o.From, nil)...)
			}
		}
	}
	return out
}

// claimsAt returns the marks that a value at a JSON pointer sets; without a value the pointer is removed.
func claimsAt(pointer string, value json.RawMessage) []claim {
	var m marks
	steps := strings.Split(pointer, "/")
	for i := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[i])
	}
	switch {
	case len(steps) == 4 && steps[1] == "metadata" && reserved(steps[3]):
		c := claim{annotation: steps[2] == "annotations", key: steps[3]}
		var s string
		if value != nil && json.Unmarshal(value, &s) == nil {
			c.value = &s
		}
		return []claim{c}
	case value == nil:
		return nil
	case pointer == "":
		var object marked
		_ = kjson.Unmarshal(value, &object) // what is no object sets nothing
		m = object.Metadata
	case pointer == "/metadata":
		_ = kjson.Unmarshal(value, &m)
	case pointer == "/metadata/labels":
		_ = kjson.Unmarshal(value, &m.Labels)
	case pointer == "/metadata/annotations":
		_ = kjson.Unmarshal(value, &m.Annotations)
	}
	return m.claims()
}

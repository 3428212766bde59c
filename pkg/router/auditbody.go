package router

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/apis/audit"
	auditing "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/naming"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// maxAudited bounds what of an answer is kept for the audit log, in bytes. Of a longer one the code is
// written down, not the object.
const maxAudited = 3 << 20

// withBodies writes into an event what an apiserver would know from the objects themselves: the name of what is
// created, the reason of a refusal, and, where the policy asks for it, the objects.
func (h *handler) withBodies(next http.Handler) http.Handler {
	streams := streaming()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ac := auditing.AuditContextFrom(r.Context())
		info, ok := request.RequestInfoFrom(r.Context())
		if !ac.Enabled() || !ok {
			next.ServeHTTP(w, r)
			return
		}
		if path, raw := rawCellFrom(r.Context()); raw {
			auditing.AddAuditAnnotation(r.Context(), rawAnnotation, rawPrefix+path+r.URL.Path)
		}
		if streams(r, info) {
			next.ServeHTTP(w, r)
			return
		}
		r, err := h.auditRequest(w, r, info, ac.GetEventLevel())
		if err != nil {
			h.fail(w, r, err)
			return
		}
		copied := &copiedAnswer{
			ResponseWriter: w,
			// The answer to a delete is most often a Status, which tells what an event is to tell at any level.
			all: info.Verb == "delete" || !ac.GetEventLevel().Less(audit.LevelRequestResponse),
		}
		next.ServeHTTP(responsewriter.WrapForHTTP1Or2(copied), r)
		if object := copied.object(); object != nil {
			auditing.LogResponseObject(r.Context(), object, schema.GroupVersion{}, auditCodecs{})
		}
	})
}

// auditRequest reads the body, where the event is to tell something from it, and returns the request with
// the body unread again.
func (h *handler) auditRequest(w http.ResponseWriter, r *http.Request, info *request.RequestInfo, level audit.Level) (*http.Request, error) {
	names := info.Verb == "create" && info.Name == ""
	if !names && level.Less(audit.LevelRequest) || r.Body == nil || r.Body == http.NoBody || !info.IsResourceRequest {
		return r, nil
	}
	data, err := h.readEarly(w, r)
	if err != nil {
		return r, err
	}
	// Not a copy of the request: the event is about this one.
	r.Body = io.NopCloser(bytes.NewReader(data))
	switch r.Method {
	case http.MethodPatch:
		if patch, err := asJSON(r.Header.Get("Content-Type"), data); err == nil {
			auditing.LogRequestPatch(r.Context(), patch)
		}
	default:
		if object := auditObject(r.Header.Get("Content-Type"), data); object != nil {
			auditRequestObject(r, info, object)
		}
	}
	return r, nil
}

func auditRequestObject(r *http.Request, info *request.RequestInfo, object runtime.Object) {
	gvr := schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource}
	auditing.LogRequestObject(r.Context(), object, gvr.GroupVersion(), gvr, info.Subresource, auditCodecs{})
}

// auditName writes down the name that was drawn for a create: body is the one that has it.
func (h *handler) auditName(r *http.Request, body naming.Body) {
	info, ok := request.RequestInfoFrom(r.Context())
	if ac := auditing.AuditContextFrom(r.Context()); h.audit == nil || !ok || !ac.Enabled() {
		return
	}
	if object := auditObject(body.ContentType, body.Data); object != nil {
		auditRequestObject(r, info, object)
		return
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetName(body.Name)
	auditRequestObject(r, info, object)
}

// auditObject decodes a body, or is nil where it is none that can be decoded: protobuf of a kind that is
// not built into Kubernetes.
func auditObject(contentType string, data []byte) runtime.Object {
	if media, _ := wire.MediaType(contentType); media == runtime.ContentTypeProtobuf {
		typed, kind, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
		if err != nil {
			return nil
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
		if err != nil {
			return nil
		}
		object := &unstructured.Unstructured{Object: content}
		object.SetGroupVersionKind(*kind)
		return object
	}
	data, err := asJSON(contentType, data)
	if err != nil {
		return nil
	}
	// A kind is not asked for: an apiserver knows it from the path.
	content := map[string]any{}
	if json.Unmarshal(data, &content) != nil {
		return nil
	}
	return &unstructured.Unstructured{Object: content}
}

var errNotText = errors.New("neither JSON nor YAML")

func asJSON(contentType string, data []byte) ([]byte, error) {
	media, known := wire.MediaType(contentType)
	switch {
	case strings.HasSuffix(media, "yaml"):
		return yaml.YAMLToJSON(data)
	case known && media != runtime.ContentTypeProtobuf:
		return data, nil
	}
	return nil, errNotText
}

// copiedAnswer keeps a copy of an answer: of a refusal always, of others where all is true.
type copiedAnswer struct {
	http.ResponseWriter
	all  bool
	code int
	body bytes.Buffer
	// cut is true where the answer is too long to be kept.
	cut bool
}

func (c *copiedAnswer) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *copiedAnswer) WriteHeader(code int) {
	if code >= http.StatusOK && c.code == 0 {
		c.code = code
	}
	c.ResponseWriter.WriteHeader(code)
}

func (c *copiedAnswer) Write(data []byte) (int, error) {
	if c.code == 0 {
		c.code = http.StatusOK
	}
	if c.all || c.code >= http.StatusBadRequest {
		if c.body.Len()+len(data) > maxAudited {
			c.cut = true
			c.body = bytes.Buffer{}
		}
		if !c.cut {
			c.body.Write(data)
		}
	}
	return c.ResponseWriter.Write(data)
}

// object is what was answered: a *metav1.Status, another object, or nil.
func (c *copiedAnswer) object() runtime.Object {
	if c.body.Len() == 0 {
		return nil
	}
	data := c.body.Bytes()
	if c.Header().Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		if data, err = io.ReadAll(io.LimitReader(reader, maxAudited)); err != nil {
			return nil
		}
	}
	object, ok := auditObject(c.Header().Get("Content-Type"), data).(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	if object.GetKind() != "Status" || object.GetAPIVersion() != "v1" {
		return object
	}
	status := &metav1.Status{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, status) != nil {
		return object
	}
	status.Code = int32(c.code)
	return status
}

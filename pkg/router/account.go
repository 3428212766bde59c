package router

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// hasBackup says whether objects of a resource have envelopes: those of class Sharded and Dependent.
func hasBackup(info *request.RequestInfo, snap *routing.Snapshot) bool {
	if !info.IsResourceRequest {
		return false
	}
	class, _ := snap.Classes.Of(info.APIGroup, info.Resource, info.Namespace)
	return class == placement.Sharded || class == placement.Dependent
}

// keepsAccount says whether a request, if it succeeds, changes something that has to be in the ledger.
func keepsAccount(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, source string) bool {
	return source != route.RCP && mutates(r.Method) && hasBackup(info, state.Snapshot) && !tries(w, r, info)
}

// tries says whether a write only asks what would become of it. A deletion with a body says so there, whatever its query
// says; one whose body cannot be read is refused by the cell. An eviction may say so in either.
func tries(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) bool {
	if !deletes(info) {
		return r.URL.RawQuery != "" && r.URL.Query().Has("dryRun") || evicts(info) && triesToEvict(w, r)
	}
	options, err := deleteOptions(w, r, info)
	return err != nil || len(options.DryRun) > 0
}

func deletes(info *request.RequestInfo) bool {
	return info.Verb == "delete" || info.Verb == "deletecollection"
}

// answered is what a cell says to a write that it has accepted.
type answered struct {
	contentType string
	body        []byte
	// meta is the object's, empty where the answer has none.
	meta wire.Meta
}

// accountAll puts a deletion of many objects into the ledger, of which the answer is the list. Whether one with
// finalizers is gone it does not say.
func (h *handler) accountAll(cell string, info *request.RequestInfo, a answered) {
	format, ok := formatOf(a.contentType)
	if !ok {
		return
	}
	list := wire.NewListReader(format, bytes.NewReader(a.body))
	for {
		item, err := list.Next()
		if err != nil {
			return // the end of it
		}
		one := *info
		one.Verb, one.Name, one.Namespace = "delete", item.Meta.Name, namespaceOf(info, item.Meta)
		of := answered{contentType: a.contentType, body: item.Raw, meta: item.Meta}
		of.meta.Deleting, of.meta.ResourceVersion = of.hasFinalizers(), "" // that of before
		h.account(cell, &one, of)
	}
}

// account puts a write that a cell has accepted into the ledger. It is called before the client is answered.
func (h *handler) account(cell string, info *request.RequestInfo, a answered) {
	w := ledger.Write{
		Group: info.APIGroup, Resource: info.Resource, Namespace: info.Namespace, Name: info.Name, UID: a.meta.UID, Verb: info.Verb,
		At: time.Now(),
	}
	if a.meta.Name != "" {
		w.Name = a.meta.Name // that of a create is not in its path
	}
	if raw, err := version.ParseRaw(a.meta.ResourceVersion); err == nil {
		w.Version = raw
	}
	switch {
	case info.Verb == "delete" && !a.meta.Deleting:
		// A Status, or the object as it was: it is gone. Any version is one from before.
		w.Gone, w.Version = true, 0
		if w.UID == "" {
			w.UID = a.deletedUID()
		}
	case a.meta.Deleting && !a.hasFinalizers():
		// The last finalizer is off.
		w.Gone, w.Version = true, 0
	}
	h.ledger.Record(cell, w)
}

// deletedUID is the UID that a Status says was deleted, "" where it says none.
func (a answered) deletedUID() string {
	var status metav1.Status
	if strings.HasPrefix(a.contentType, runtime.ContentTypeProtobuf) {
		if !decodeProtobuf(a.body, &status) {
			return ""
		}
	} else if json.Unmarshal(a.body, &status) != nil {
		return ""
	}
	if status.Details == nil {
		return ""
	}
	return string(status.Details.UID)
}

// hasFinalizers says whether the object in the answer has any.
func (a answered) hasFinalizers() bool {
	object, read := a.metadata()
	return !read || len(object.Finalizers) > 0
}

// metadata is that of the object, false where it cannot be read.
func (a answered) metadata() (object metav1.PartialObjectMetadata, read bool) {
	if strings.HasPrefix(a.contentType, runtime.ContentTypeProtobuf) {
		// The metadata is field 1 of every kind. Items of a list come without an envelope.
		read = decodeProtobuf(a.body, &object) || object.Unmarshal(a.body) == nil
	} else {
		read = json.Unmarshal(a.body, &object) == nil
	}
	return object, read
}

func decodeProtobuf(body []byte, into interface{ Unmarshal([]byte) error }) bool {
	raw, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	var unknown runtime.Unknown
	return ok && unknown.Unmarshal(raw) == nil && into.Unmarshal(unknown.Raw) == nil
}

// answeredBy reads what an answer says whose body is known whole. In a form that cannot be read nothing is known but
// that the write was accepted.
func answeredBy(contentType string, body []byte) answered {
	format, ok := formatOf(contentType)
	if !ok && strings.Contains(contentType, "yaml") {
		if converted, err := yaml.YAMLToJSON(body); err == nil {
			format, ok, contentType, body = wire.JSON, true, runtime.ContentTypeJSON, converted
		}
	}
	a := answered{contentType: contentType, body: body}
	if !ok {
		return a
	}
	if meta, err := format.ReadMeta(body); err == nil {
		a.meta = meta
	}
	return a
}

package mirror

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// identity is what makes objects of several cells the same one.
type identity struct{ group, resource, namespace, name string }

func (i identity) envelope() string {
	return envelope.Name(i.group, i.resource, i.namespace, i.name)
}

// String is "deployments.apps payments/checkout".
func (i identity) String() string {
	h := envelope.Header{Group: i.group, Resource: i.resource, Namespace: i.namespace, Name: i.name}
	return h.String()
}

// item is an object, whichever cells have it or an envelope of it.
type item struct {
	id   identity
	name string // of its envelopes
	// records by cell: what the cells have of it, and what they had while that is not settled.
	records records
	// refusal says why there is no envelope that could be promoted, nil where there is one.
	refusal *refusal
	// proven is what of the object its backup cell was seen to accept, by cell.
	proven map[string]proof
	// early says that there was an envelope of it when those of a cell were listed first.
	early bool
	// urgent puts it before what is merely compared.
	urgent atomic.Bool
}

// rehearsedIn says whether a cell has said of the object of that UID whether it would take it.
func (it *item) rehearsedIn(cell string, uid types.UID) bool {
	last, known := it.proven[cell]
	return known && last.uid == uid
}

// refusedIn says whether a cell has an envelope of it, and would not take it.
func (it *item) refusedIn(cell string) bool {
	return it.refusal != nil && it.refusal.stored && it.refusal.cell == cell
}

// note takes what a cell has said.
func (it *item) note(cell string, p proof) {
	if it.proven == nil {
		it.proven = map[string]proof{}
	}
	it.proven[cell] = p
}

// records are few, one for each cell.
type records []*record

// in is the record of a cell, nil where there is none.
func (rs records) in(cell string) *record {
	for _, r := range rs {
		if r.stream.cell.name == cell {
			return r
		}
	}
	return nil
}

// drop takes out the record of a cell.
func (rs *records) drop(cell string) {
	*rs = slices.DeleteFunc(*rs, func(r *record) bool { return r.stream.cell.name == cell })
}

// record is what one cell has of an object.
type record struct {
	stream *stream
	uid    types.UID
	// version is that of the object, or that of its deletion where gone is true.
	version int64
	gone    bool
	status  v1alpha1.RebalanceStatus
	// unit and movesTo are what its marks say, empty where it has none.
	unit, movesTo string
	// known is the unit that it was found to belong to last.
	known      string
	owners     []metav1.OwnerReference
	generation int64
	// body is its JSON, nil where it has to be read.
	body []byte
	// from is the version of the first event that is not settled, since when that came; they count while it is open.
	from  int64
	since time.Time
}

// shows says whether the object counts, as far as its label tells.
func (r *record) shows() bool {
	return !r.gone && (r.status == "" || r.status == v1alpha1.Migrating)
}

// metadata is what is read of an object in a watch.
type metadata struct {
	Namespace         string                  `json:"namespace"`
	Name              string                  `json:"name"`
	UID               types.UID               `json:"uid"`
	ResourceVersion   string                  `json:"resourceVersion"`
	Generation        int64                   `json:"generation"`
	Labels            map[string]string       `json:"labels"`
	Annotations       map[string]string       `json:"annotations"`
	OwnerReferences   []metav1.OwnerReference `json:"ownerReferences"`
	DeletionTimestamp *metav1.Time            `json:"deletionTimestamp"`
}

func parseMetadata(body []byte) (*metadata, error) {
	var object struct {
		Metadata metadata `json:"metadata"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", err)
	}
	return &object.Metadata, nil
}

// metadataOf keeps only what is looked at: a list holds all that it has until it is whole, and annotations may be larger
// than the rest of an object.
func metadataOf(m *metav1.PartialObjectMetadata) *metadata {
	kept := &metadata{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		OwnerReferences: m.OwnerReferences, DeletionTimestamp: m.DeletionTimestamp,
	}
	if status, marked := m.Labels[v1alpha1.LabelRebalanceStatus]; marked {
		kept.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: status}
		kept.Annotations = map[string]string{
			v1alpha1.AnnotationUnit: m.Annotations[v1alpha1.AnnotationUnit], v1alpha1.AnnotationMovesTo: m.Annotations[v1alpha1.AnnotationMovesTo],
		}
	}
	return kept
}

func (m *metadata) status() v1alpha1.RebalanceStatus {
	return v1alpha1.RebalanceStatus(m.Labels[v1alpha1.LabelRebalanceStatus])
}

// take makes a record what its cell says now.
func (r *record) take(m *metadata, version int64) {
	r.uid, r.version, r.gone = m.UID, version, false
	r.status, r.generation = m.status(), m.Generation
	r.unit, r.movesTo = "", ""
	if r.status != "" {
		r.unit, r.movesTo = m.Annotations[v1alpha1.AnnotationUnit], m.Annotations[v1alpha1.AnnotationMovesTo]
	}
	r.owners = nil
	if r.stream.class == placement.Dependent {
		r.owners = m.OwnerReferences
	}
}

// versionOf is 0 for what is none.
func versionOf(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// mirrored says whether an object is mirrored at all: not those of the system, nor those that every control plane makes
// for itself.
func mirrored(resource identity, namespace, name string) bool {
	if placement.SystemNamespace(namespace) {
		return false
	}
	switch {
	case resource.group != "":
		return true
	case resource.resource == "configmaps":
		return name != "kube-root-ca.crt"
	case resource.resource == "services":
		return namespace != metav1.NamespaceDefault || name != "kubernetes"
	}
	return true
}

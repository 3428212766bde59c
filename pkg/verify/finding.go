package verify

import (
	"fmt"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Finding is one thing that is not as it has to be.
type Finding struct {
	Class Class `json:"class"`
	// Object is "deployments.apps payments/checkout".
	Object string `json:"object"`
	// Cell is where the thing is, or is missing.
	Cell    string `json:"cell"`
	Message string `json:"message"`
	// Safe says that a repair mends it. Fix is what the repair does, or else the command for a person to look with, or to
	// mend it with.
	Safe bool   `json:"safe"`
	Fix  string `json:"fix"`
	// Repaired says that it was mended, Problem why it was not.
	Repaired bool   `json:"repaired,omitempty"`
	Problem  string `json:"problem,omitempty"`

	ref    ref
	remedy remedy
	// object is that in Cell, or that of the envelope; envelope is the one in Cell.
	object   *migration.Object
	envelope *sealed
	// counts is the cell whose object counts, unit its unit.
	counts, unit string
	// token is the same in two looks at the same thing. In the first look the object was at version behind, and in the
	// second one the envelope is at version holds: it is late if that is less.
	token         string
	behind, holds int64
}

// same says whether a later look confirms a finding.
func (f *Finding) same(later *Finding) bool {
	return f.Class == later.Class && f.Cell == later.Cell && f.remedy == later.remedy && f.token == later.token &&
		(f.behind == 0 || later.holds < f.behind)
}

// ref names an object, whatever cell it is in.
type ref struct {
	resource        schema.GroupResource
	namespace, name string
}

func (r ref) String() string {
	h := envelope.Header{Group: r.resource.Group, Resource: r.resource.Resource, Namespace: r.namespace, Name: r.name}
	return h.String()
}

func (r ref) envelope() string {
	return envelope.Name(r.resource.Group, r.resource.Resource, r.namespace, r.name)
}

// sealed is an envelope as it was read.
type sealed struct {
	name   string
	header envelope.Header
	// problem says why it is none, empty for one that is.
	problem      string
	uid, version string
}

// remedy is what mends a finding.
type remedy int

const (
	// byHand is for a person.
	byHand remedy = iota
	// moveHome moves the object to the cell that the ring names.
	moveHome
	// removeCopy removes the object, if the one that counts holds the same.
	removeCopy
	// removeMark removes a tombstone, or an incoming copy.
	removeMark
	// finish takes a move back, or finishes it.
	finish
	// seal writes the envelope.
	seal
	// unseal deletes it.
	unseal
)

// rawPath is where a router serves an object of one cell.
func rawPath(cell string, o *migration.Object) string {
	return "/cells/" + url.PathEscape(cell) + o.Path()
}

// showRaw prints an object of one cell.
func showRaw(cell string, o *migration.Object) string {
	return fmt.Sprintf("kubectl get --raw %s", rawPath(cell, o))
}

// deleteRaw deletes an object in one cell and leaves what it owns.
func deleteRaw(cell string, o *migration.Object) string {
	return fmt.Sprintf("kubectl delete --raw '%s?propagationPolicy=Orphan'", rawPath(cell, o))
}

// showEnvelope prints an envelope.
func showEnvelope(cell, name string) string {
	return fmt.Sprintf("kubectl get --raw /cells/%s/api/v1/namespaces/%s/secrets/%s", url.PathEscape(cell), v1alpha1.Namespace, name)
}

func statusOf(meta *metav1.PartialObjectMetadata) v1alpha1.RebalanceStatus {
	return v1alpha1.RebalanceStatus(meta.Labels[v1alpha1.LabelRebalanceStatus])
}

// live says whether an object is neither a tombstone nor a copy that is yet to count.
func live(meta *metav1.PartialObjectMetadata) bool {
	return meta != nil && (statusOf(meta) == "" || statusOf(meta) == v1alpha1.Migrating)
}

func deleting(meta *metav1.PartialObjectMetadata) bool { return meta.DeletionTimestamp != nil }

// Package route decides where a request goes, from its path and the routing snapshot alone.
//
// It is the whole routing policy of the router and does no I/O: what is decided here is carried out
// by pkg/router. The decision for a request never depends on an earlier one.
package route

import (
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// RCP is the name of the router control plane where a cell's name is expected. No cell can have it:
// it is not a DNS label.
const RCP = "@rcp"

// Action is what the router does with a request.
type Action int

const (
	// Forward sends the request to one control plane, Route.Source.
	Forward Action = iota + 1
	// Place reads the name out of the body, since it decides the cell, and forwards.
	Place
	// Move looks for the object in the two cells between which its key moves, Route.Sources.
	Move
	// Find asks all control planes for the object at once and forwards to the one that has it.
	Find
	// Merge sends the request to all control planes and makes one answer of theirs.
	Merge
	// Replicate sends a write to the RCP and copies the result to every cell before it answers.
	Replicate
	// Refuse answers Route.Refusal.
	Refuse
)

func (a Action) String() string {
	return [...]string{"?", "Forward", "Place", "Move", "Find", "Merge", "Replicate", "Refuse"}[a]
}

// Route is the decision for one request.
type Route struct {
	Action Action
	// Source is the control plane of Forward: a cell's name or [RCP].
	Source string
	// Sources are the control planes of Find, Merge and Move; for Find the likeliest comes first, for Move the
	// one that the key moves from.
	Sources []string
	// Refusal is the answer of Refuse.
	Refusal *apierrors.StatusError
}

// Subject is a request by the object that it is about. In the path of a proxy to a service or a pod, the name has its
// scheme and its port with it, as in http:NAME:80; the control plane reads them there.
func Subject(info *request.RequestInfo) *request.RequestInfo {
	if info.APIGroup != "" || info.Subresource != "proxy" || info.Resource != "services" && info.Resource != "pods" {
		return info
	}
	_, name, _, valid := utilnet.SplitSchemeNamePort(info.Name)
	if !valid {
		return info // which the control plane refuses
	}
	named := *info
	named.Name = name
	return &named
}

// Decide routes one request. info is what the generic server's resolver made of its path, by its
// [Subject].
func Decide(info *request.RequestInfo, snap *routing.Snapshot) Route {
	if !info.IsResourceRequest || info.Verb == "" && info.Subresource != "proxy" {
		// Discovery, OpenAPI and version; and methods that no apiserver has, which the RCP refuses. What is behind an object
		// may have them, as OPTIONS.
		return Route{Action: Forward, Source: RCP}
	}
	class, key := snap.Classes.OfObject(info.APIGroup, info.Resource, info.Namespace, info.Name)
	switch class {
	case placement.Sharded:
		return sharded(info, snap, key)
	case placement.Local, placement.Dependent:
		return local(info, snap)
	case placement.Replicated:
		// A subresource (status, token, finalize) is the RCP's own; copies do not have it.
		if writes(info.Verb) && info.Subresource == "" {
			return Route{Action: Replicate}
		}
	}
	return Route{Action: Forward, Source: RCP}
}

// Visible says whether an object of that name in a source may be the one that the router shows. A Sharded object is
// shown from its cell alone, or from either of two while its key moves; a Local one from any cell, where it was made,
// but from the RCP only in the system's namespaces. What every cell makes for itself is shown from one.
func Visible(group, resource, namespace, name, source string, snap *routing.Snapshot) bool {
	class, key := snap.Classes.OfObject(group, resource, namespace, name)
	switch class {
	case placement.Sharded:
		p, ok := snap.Table.Lookup(key, namespace, name)
		return ok && (p.Old() == source || p.New() == source)
	case placement.Local, placement.Dependent:
		return source != RCP
	}
	return source == RCP
}

// Moves says whether an object of that name may move while the ring is as it is, and from which cell: "" for a
// Dependent, which moves with its owner.
func Moves(group, resource, namespace, name string, snap *routing.Snapshot) (from string, moves bool) {
	if snap.Phase == v1alpha1.RingStable || snap.Phase == "" {
		return "", false
	}
	class, key := snap.Classes.OfObject(group, resource, namespace, name)
	switch class {
	case placement.Sharded:
		p, ok := snap.Table.Lookup(key, namespace, name)
		return p.Old(), ok && p.Moves()
	case placement.Dependent:
		return "", true
	}
	return "", false
}

// HasNoPlace says whether the object, or where none is named those of the resource, may be in any cell: those of class
// Local and Dependent.
func HasNoPlace(info *request.RequestInfo, snap *routing.Snapshot) bool {
	class, _ := snap.Classes.OfObject(info.APIGroup, info.Resource, info.Namespace, info.Name)
	return class == placement.Local || class == placement.Dependent
}

// Named routes a request whose object's name became known from its body.
func Named(info *request.RequestInfo, snap *routing.Snapshot, name string) Route {
	named := *info
	named.Name = name
	return Decide(&named, snap)
}

func sharded(info *request.RequestInfo, snap *routing.Snapshot, key placement.KeyRule) Route {
	switch {
	case info.Name == "" && info.Verb == "create":
		return Route{Action: Place}
	case info.Name == "", acrossNamespaces(info):
		return merged(info, snap)
	}
	p, ok := snap.Table.Lookup(key, info.Namespace, info.Name)
	switch {
	case !ok:
		return refuse(unplaced())
	case p.Moves() && isCollection(info.Verb):
		return Route{Action: Merge, Sources: []string{p.Old(), p.New()}}
	case p.Moves():
		return Route{Action: Move, Sources: []string{p.Old(), p.New()}}
	case snap.Unavailable[p.Old()]:
		return refuse(Unavailable(p.Old(), "it was failed over"))
	}
	return Route{Action: Forward, Source: p.Old()}
}

// acrossNamespaces recognises a list or watch of one name over all namespaces: the name alone does
// not tell the cell.
func acrossNamespaces(info *request.RequestInfo) bool {
	return info.Namespace == "" && (info.Verb == "list" || info.Verb == "watch" || info.Verb == "deletecollection")
}

// local routes objects that are where they were made. Those that are made through a router are placed by
// their namespace: they refer to one another as owners, and a garbage collector sees one cell alone.
func local(info *request.RequestInfo, snap *routing.Snapshot) Route {
	switch {
	case info.Name == "" && info.Verb == "create":
		return Route{Action: Place}
	case info.Name == "", isCollection(info.Verb):
		return merged(info, snap)
	}
	p, ok := snap.Table.Lookup(placement.Namespace, info.Namespace, info.Name)
	if !ok {
		return refuse(unplaced())
	}
	if info.Verb == "create" && info.Subresource == "" {
		return Route{Action: Forward, Source: p.Old()}
	}
	sources := cells(snap)
	// One that came through a router is where its namespace hashes to: ask there first.
	if i := slices.Index(sources, p.Old()); i > 0 {
		sources[0], sources[i] = sources[i], sources[0]
	}
	return Route{Action: Find, Sources: sources}
}

func isCollection(verb string) bool {
	return verb == "list" || verb == "watch" || verb == "deletecollection"
}

func merged(info *request.RequestInfo, snap *routing.Snapshot) Route {
	sources := cells(snap)
	if info.Namespace == "" {
		// The objects of the system's own namespaces are in the RCP, whatever their resource.
		sources = append(sources, RCP)
	}
	return Route{Action: Merge, Sources: sources}
}

// cells returns the cells that hold data: all of the current and the target ring.
func cells(snap *routing.Snapshot) []string {
	return snap.Table.Cells()
}

func writes(verb string) bool {
	switch verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// Slot returns a source's place in resource versions, and false where the ring has none for it.
func Slot(source string, snap *routing.Snapshot) (int, bool) {
	if source == RCP {
		return 0, true
	}
	slot, ok := snap.Slots[source]
	return slot, ok
}

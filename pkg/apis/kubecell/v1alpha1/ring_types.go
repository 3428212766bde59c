package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RingPhase is where the ring stands between two stable states.
// +kubebuilder:validation:Enum=Stable;Preparing;Rebalancing;Settling
type RingPhase string

const (
	// RingStable: every key has one cell; target is empty.
	RingStable RingPhase = "Stable"
	// RingPreparing: a target is accepted, but some router may not know it yet.
	RingPreparing RingPhase = "Preparing"
	// RingRebalancing: keys move from current to target.
	RingRebalancing RingPhase = "Rebalancing"
	// RingSettling: all keys have moved, backups for the target are being completed.
	RingSettling RingPhase = "Settling"
)

// ResourceClass says where the objects of a resource live.
// +kubebuilder:validation:Enum=Sharded;Dependent;Local;Replicated;Global
type ResourceClass string

// KeyRule says which string of an object is hashed.
// +kubebuilder:validation:Enum=NamespacedName;Name;Namespace
type KeyRule string

// RingMember is one cell's part of a ring.
type RingMember struct {
	// Cell is the name of a Cell object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a cell is named by a DNS label: at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
	Cell string `json:"cell"`

	// Weight is the cell's share relative to the other members; 100 is an ordinary cell.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000",message="weight must be 1 to 1000 (100 is an ordinary cell); to empty a cell, remove it from the members"
	// +kubebuilder:default=100
	Weight int32 `json:"weight"`
}

// ResourceRule overrides the built-in class of a resource.
// +kubebuilder:validation:XValidation:rule="!has(self.key) || self.class == 'Sharded'",message="key is allowed for class Sharded only: other classes are not hashed"
type ResourceRule struct {
	// Group is the API group, empty for the core group.
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group"`

	// Resource is the plural name, such as "deployments", or "*" for the whole group.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '*' || self.matches('^[a-z]([-a-z0-9.]*[a-z0-9])?$')",message="resource is the lower-case plural name without subresource, such as deployments, or * for the whole group"
	Resource string `json:"resource"`

	// Class is where objects of the resource live.
	Class ResourceClass `json:"class"`

	// Key is what is hashed; NamespacedName where absent.
	// +optional
	Key KeyRule `json:"key,omitempty"`
}

// RingLayout is everything that decides where an object lives. Two equal layouts place every
// object alike.
// +kubebuilder:validation:XValidation:rule="self.members.map(m, m.weight).sum() * self.pointsPerWeight <= 4000000",message="the members' weights, added up and multiplied by pointsPerWeight, may be 4000000 points at the most"
type RingLayout struct {
	// Members are the cells of the ring, each once.
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:default={}
	Members []RingMember `json:"members"`

	// PointsPerWeight is how many points a cell gets for each unit of its weight.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000",message="pointsPerWeight must be 1 to 1000; the default, 150, keeps the skew under 3%"
	// +kubebuilder:default=150
	PointsPerWeight int32 `json:"pointsPerWeight"`

	// Resources override the built-in resource classes.
	// +listType=map
	// +listMapKey=group
	// +listMapKey=resource
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Resources []ResourceRule `json:"resources,omitempty"`
}

// RingSpec is what the administrator wants. Changing it moves nothing: a Rebalance accepts it.
type RingSpec struct {
	RingLayout `json:",inline"`

	// Retention is how long the tombstone of a migrated object stays in its old cell.
	// +kubebuilder:default="12h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('720h')",message="retention must be a duration of 0s to 720h, such as 12h"
	// +optional
	Retention *metav1.Duration `json:"retention,omitempty"`

	// Protection names the workloads whose writes routers answer only once the backup cell has them as
	// well. The first rule that matches counts; what none matches is backed up a moment after the answer.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Protection []ProtectionRule `json:"protection,omitempty"`
}

// ProtectionPolicy says what becomes of a write whose copy the backup cell cannot take.
// +kubebuilder:validation:Enum=Degrade;Strict
type ProtectionPolicy string

const (
	// ProtectionDegrade answers with a warning, and the copy is made when it can be.
	ProtectionDegrade ProtectionPolicy = "Degrade"
	// ProtectionStrict refuses the write before it is made where the backup cell is known to be away, and does
	// not acknowledge one whose copy failed.
	ProtectionStrict ProtectionPolicy = "Strict"
)

// ProtectionRule is one kind of workload that is protected synchronously.
// +kubebuilder:validation:XValidation:rule="has(self.selector) || (has(self.namespaces) && self.namespaces.size() > 0)",message="a rule names namespaces, a selector, or both; an empty selector ({}) is everything"
type ProtectionRule struct {
	// Namespaces of the workloads; all where empty.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Selector matches the labels of the objects; all where absent.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// Policy for a write whose copy the backup cell cannot take.
	// +kubebuilder:default=Degrade
	// +optional
	Policy ProtectionPolicy `json:"policy,omitempty"`
}

// RingSlot gives a cell its place in the resource versions that routers show.
type RingSlot struct {
	// Slot is a number that no other cell has or ever had; 0 is the RCP's.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=999
	Slot int32 `json:"slot"`

	// Cell is the name of the Cell; of two slots of one name the higher counts.
	Cell string `json:"cell"`

	// ControlPlane is the UID of the cell's namespace kube-system. Another control plane of the same
	// name counts its versions anew, and so needs another slot.
	ControlPlane string `json:"controlPlane"`

	// GivenUp says that the control plane was failed over, and then removed for good: the federation has gone on without what
	// it holds. Should it come back it has to be empty, and needs another slot.
	// +optional
	GivenUp bool `json:"givenUp,omitempty"`
}

// RingStatus is where data lives.
type RingStatus struct {
	// Epoch grows by one at each change that routers must see; 0 before the first layout.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`

	// Phase is empty before the first layout.
	// +optional
	Phase RingPhase `json:"phase,omitempty"`

	// Current is the layout that data has now; absent before the first.
	// +optional
	Current *RingLayout `json:"current,omitempty"`

	// Target is the layout that a running Rebalance moves data to; absent while Stable.
	// +optional
	Target *RingLayout `json:"target,omitempty"`

	// Rebalance is the name of the run that wrote the phase last. It stays when the run has ended.
	// +optional
	Rebalance string `json:"rebalance,omitempty"`

	// AcceptedEpoch is the epoch in which that run was accepted, the last one before its own: its record says so as
	// fromEpoch, also one that is made anew. It stays like the name.
	// +optional
	AcceptedEpoch int64 `json:"acceptedEpoch,omitempty"`

	// Aborting says that this run walks back: current and target have changed places, or nothing was moved.
	// +optional
	Aborting bool `json:"aborting,omitempty"`

	// Window grows by one each time a Rebalance has to know that all writes begun earlier are finished:
	// every router acknowledges the number once its own are.
	// +optional
	Window int64 `json:"window,omitempty"`

	// Unavailable are cells that were failed over and must not be used.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Unavailable []string `json:"unavailable,omitempty"`

	// Failover is the name of the run that is taking a cell out of the ring; empty at other times. A
	// Rebalance stands still while it is set.
	// +optional
	Failover string `json:"failover,omitempty"`

	// Promoting are cells that have left the ring and whose envelopes are not all promoted yet: what
	// lists need is not complete, and a request for one object promotes it first.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Promoting []string `json:"promoting,omitempty"`

	// Withheld are cells whose envelopes of those in Promoting were not compared yet with what routers
	// remember: they did not answer in time. Nothing is promoted in them before, since an envelope may be
	// of an object that a client has deleted.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Withheld []string `json:"withheld,omitempty"`

	// Slots of all cells that there ever were. A slot is never given away again: resource versions that
	// clients hold name it.
	// +listType=map
	// +listMapKey=slot
	// +kubebuilder:validation:MaxItems=999
	// +optional
	Slots []RingSlot `json:"slots,omitempty"`

	// Conditions are observations of the ring as a whole.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Ring is the consistent-hash ring of the federation. There is one, named "default".
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=kubecell,shortName=kcring
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Epoch",type=integer,JSONPath=`.status.epoch`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Current",type=string,priority=1,JSONPath=`.status.current.members[*].cell`
// +kubebuilder:printcolumn:name="Wanted",type=string,priority=1,JSONPath=`.spec.members[*].cell`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="there is one Ring and it is named default"
type Ring struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec RingSpec `json:"spec,omitempty"`
	// +optional
	Status RingStatus `json:"status,omitempty"`
}

// RingList is a list of Rings.
// +kubebuilder:object:root=true
type RingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Ring `json:"items"`
}

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// FailoverDirection tells a failover from the way back.
// +kubebuilder:validation:Enum=Failover;Failback
type FailoverDirection string

const (
	// DirectionFailover takes a dead cell out of the ring and promotes its copies.
	DirectionFailover FailoverDirection = "Failover"
	// DirectionFailback brings a cell that was failed over back as a new member.
	DirectionFailback FailoverDirection = "Failback"
)

// FailoverPhase is the progress of one run.
// +kubebuilder:validation:Enum=Pending;Running;Succeeded;Refused;Failed
type FailoverPhase string

// Phases of a Failover. The last three are final.
const (
	FailoverPending   FailoverPhase = "Pending"
	FailoverRunning   FailoverPhase = "Running"
	FailoverSucceeded FailoverPhase = "Succeeded"
	FailoverRefused   FailoverPhase = "Refused"
	FailoverFailed    FailoverPhase = "Failed"
)

// Final says that a run in this phase has ended.
func (p FailoverPhase) Final() bool {
	return p == FailoverSucceeded || p == FailoverRefused || p == FailoverFailed
}

// FailoverSpec is one order. It cannot be changed: what was agreed to is what is done.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a failover cannot be changed once ordered; create another"
type FailoverSpec struct {
	// Cell that is failed over or comes back.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a cell is named by a DNS label: at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
	Cell string `json:"cell"`

	// Direction of the run.
	// +kubebuilder:default=Failover
	// +optional
	Direction FailoverDirection `json:"direction,omitempty"`

	// ConfirmEpoch is the epoch that the administrator saw when agreeing; at another one the
	// order is refused.
	// +kubebuilder:validation:XValidation:rule="self >= 1",message="confirmEpoch is the epoch of the ring when you agreed, 1 or more"
	ConfirmEpoch int64 `json:"confirmEpoch"`

	// AcceptLoss is how many workloads without a copy, or with one that lacks a write, the administrator
	// gives up: 9223372036854775807 for any number, which is asked for where nobody can count them.
	// +kubebuilder:validation:XValidation:rule="self >= 0",message="acceptLoss must not be negative"
	// +optional
	AcceptLoss int64 `json:"acceptLoss,omitempty"`

	// IgnoreRouters are routers known dead, whose acknowledgement is not awaited.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +optional
	IgnoreRouters []string `json:"ignoreRouters,omitempty"`

	// Force allows the failover of a cell that answers.
	// +optional
	Force bool `json:"force,omitempty"`

	// Drill rehearses every step that writes nothing on the live ring, and times it.
	// +optional
	Drill bool `json:"drill,omitempty"`

	// Order says who has ordered the run, and why.
	// +optional
	Order *Order `json:"order,omitempty"`
}

// FailoverStep is one step of the run.
type FailoverStep struct {
	// Name of the step, such as "promote".
	Name string `json:"name"`
	// +optional
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.MicroTime `json:"completionTime,omitempty"`
	// Message says what was done, or what is waited for.
	// +optional
	Message string `json:"message,omitempty"`
}

// FailoverCell counts what one survivor takes over.
type FailoverCell struct {
	Cell string `json:"cell"`
	// Total is how many envelopes were to be promoted there.
	Total int64 `json:"total"`
	// Promoted of them are objects again, whoever promoted them, or needed no promotion any more.
	Promoted int64 `json:"promoted"`
	// Failing is why it does not go on there, empty while it does.
	// +optional
	Failing string `json:"failing,omitempty"`
}

// FailoverKept is an object that was left as it is, for a person to look at: an envelope that could not be
// promoted, or an object of a returned cell that differs.
type FailoverKept struct {
	// Object is "<resource>[.<group>]/<namespace>/<name>".
	Object string `json:"object"`
	// Cell that holds it.
	Cell string `json:"cell"`
	// Reason is one word, such as Corrupt, Conflict, Diverged or OnlyHere.
	Reason string `json:"reason"`
	// +optional
	Message string `json:"message,omitempty"`
}

// Condition types of a Failover, beside [ConditionRoutersAcknowledged], [ConditionCellsUsable] and
// [ConditionDriven], which mean what they mean for a Rebalance.
const (
	// ConditionRecovered is true once every envelope was promoted: all that could be saved is writable.
	ConditionRecovered = "Recovered"
)

// FailoverStatus is the progress of a run, enough to take it over.
type FailoverStatus struct {
	// +optional
	Phase FailoverPhase `json:"phase,omitempty"`
	// Driver is the identity of the one that carries the run out, or did last.
	// +optional
	Driver string `json:"driver,omitempty"`
	// FromEpoch is the epoch in which the run began.
	// +optional
	FromEpoch int64 `json:"fromEpoch,omitempty"`
	// ToEpoch is the epoch in which it ended.
	// +optional
	ToEpoch int64 `json:"toEpoch,omitempty"`
	// Member is the cell's part of the wanted ring before it was failed over; absent where it had none.
	// +optional
	Member *RingMember `json:"member,omitempty"`
	// +optional
	Report *FailoverReport `json:"report,omitempty"`
	// Steps in the order in which they are taken.
	// +listType=map
	// +listMapKey=name
	// +optional
	Steps []FailoverStep `json:"steps,omitempty"`
	// Cells that take over, by name.
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Cells []FailoverCell `json:"cells,omitempty"`
	// Kept are the first hundred objects that a person has to look at.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Kept []FailoverKept `json:"kept,omitempty"`
	// KeptObjects counts all of them.
	// +optional
	KeptObjects int64 `json:"keptObjects,omitempty"`
	// Quarantine says where what differed was saved to, as host:folder.
	// +optional
	Quarantine string `json:"quarantine,omitempty"`
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Failover is one run of failover or failback. It stays as a record of what was done.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=kubecell,shortName=kcfo
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Cell",type=string,JSONPath=`.spec.cell`
// +kubebuilder:printcolumn:name="Direction",type=string,JSONPath=`.spec.direction`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Lost",type=integer,JSONPath=`.status.report.lost`
// +kubebuilder:printcolumn:name="Driver",type=string,priority=1,JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Failover struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec FailoverSpec `json:"spec"`
	// +optional
	Status FailoverStatus `json:"status,omitempty"`
}

// FailoverList is a list of Failovers.
// +kubebuilder:object:root=true
type FailoverList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Failover `json:"items"`
}

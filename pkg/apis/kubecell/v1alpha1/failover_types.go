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

	// AcceptLoss is the number of workloads without a copy that the administrator gives up.
	// +kubebuilder:validation:XValidation:rule="self >= 0",message="acceptLoss must not be negative"
	// +optional
	AcceptLoss int64 `json:"acceptLoss,omitempty"`

	// IgnoreRouters are routers known dead, whose acknowledgement is not awaited.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +optional
	IgnoreRouters []string `json:"ignoreRouters,omitempty"`
}

// FailoverReport is what the preflight found.
type FailoverReport struct {
	// Workloads of the cell.
	Workloads int64 `json:"workloads"`
	// Protected of them have a copy in their backup cell.
	Protected int64 `json:"protected"`
	// Lost of them would be lost.
	Lost int64 `json:"lost"`
	// LostKeys are the keys of those, the first 1000.
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	LostKeys []string `json:"lostKeys,omitempty"`
	// OldestCopy is the age of the oldest copy that would be promoted.
	// +optional
	OldestCopy *metav1.Duration `json:"oldestCopy,omitempty"`
}

// FailoverStep is one step of the run.
type FailoverStep struct {
	// Name of the step, such as "promote".
	Name string `json:"name"`
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}

// FailoverStatus is the progress of a run, enough to take it over.
type FailoverStatus struct {
	// +optional
	Phase FailoverPhase `json:"phase,omitempty"`
	// +optional
	Report *FailoverReport `json:"report,omitempty"`
	// Steps in the order in which they are taken.
	// +listType=map
	// +listMapKey=name
	// +optional
	Steps []FailoverStep `json:"steps,omitempty"`
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

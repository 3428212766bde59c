package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RebalancePhase is the progress of one run.
// +kubebuilder:validation:Enum=Pending;Preparing;Moving;Paused;Aborting;Settling;Succeeded;Aborted;Failed
type RebalancePhase string

// Phases of a Rebalance. The last three are final.
const (
	RebalancePending   RebalancePhase = "Pending"
	RebalancePreparing RebalancePhase = "Preparing"
	RebalanceMoving    RebalancePhase = "Moving"
	RebalancePaused    RebalancePhase = "Paused"
	RebalanceAborting  RebalancePhase = "Aborting"
	RebalanceSettling  RebalancePhase = "Settling"
	RebalanceSucceeded RebalancePhase = "Succeeded"
	RebalanceAborted   RebalancePhase = "Aborted"
	RebalanceFailed    RebalancePhase = "Failed"
)

// Final says that a run in this phase has ended.
func (p RebalancePhase) Final() bool {
	return p == RebalanceSucceeded || p == RebalanceAborted || p == RebalanceFailed
}

// Condition types of a Rebalance.
const (
	// ConditionRoutersAcknowledged is false while routers have not acknowledged what the run waits for; its
	// message names them.
	ConditionRoutersAcknowledged = "RoutersAcknowledged"
	// ConditionCellsUsable is false while a cell of the run cannot be used; its message names it and says why.
	ConditionCellsUsable = "CellsUsable"
	// ConditionFullSpeed is false while the window is smaller than spec.window; its message says why.
	ConditionFullSpeed = "FullSpeed"
	// ConditionHealthy is false when more units failed than maxFailures allows. The run has paused itself.
	ConditionHealthy = "Healthy"
	// ConditionDriven is false when whoever drove the run said that he gave it up.
	ConditionDriven = "Driven"
	// ConditionUnlimited is false while only some units may begin; its message says which, and when these have
	// moved that the run has paused itself.
	ConditionUnlimited = "Unlimited"
)

// RebalanceLimit chooses units: those with an object that is in one of the namespaces and has the labels.
// +kubebuilder:validation:XValidation:rule="has(self.namespaces) || has(self.selector)",message="a limit without namespaces and selector chooses nothing; leave it out to move everything"
type RebalanceLimit struct {
	// Namespaces, all of them where absent.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:MinItems=1
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Selector of labels, such as "tier=canary"; any labels where absent.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
}

// RebalanceSpec is how a run shall go; all of it may be changed while it runs.
type RebalanceSpec struct {
	// Window is how many units may be migrating at once.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 10000",message="window must be 1 to 10000 units"
	// +kubebuilder:default=50
	Window int32 `json:"window"`

	// Rate limits how many units begin to migrate in a second; 0 means no limit but the window.
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 100000",message="rate must be 0 (no limit) to 100000 units a second"
	// +optional
	Rate int32 `json:"rate,omitempty"`

	// Paused lets the units in flight finish and begins no others.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Step is how many windows may still be moved before the run pauses by itself; absent or 0 means that
	// it goes on to the end. The driver counts it down and then sets paused.
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 10000",message="step must be 0 (to the end) to 10000 windows"
	// +optional
	Step int32 `json:"step,omitempty"`

	// Limit lets only some units begin. When all of them have moved the run pauses itself: the ring stays
	// Rebalancing until the others have moved as well, once the limit is taken off, or until an abort. Objects
	// that are made meanwhile go by the target ring, whatever the limit.
	// +optional
	Limit *RebalanceLimit `json:"limit,omitempty"`

	// Abort swaps current and target and walks back. It cannot be taken back.
	// +kubebuilder:validation:XValidation:rule="self || !oldSelf",message="an abort cannot be taken back; start a new rebalance when it has ended"
	// +optional
	Abort bool `json:"abort,omitempty"`

	// Grace is how long tombstones stay; Ring.spec.retention where absent.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('720h')",message="grace must be a duration of 0s to 720h, such as 12h"
	// +optional
	Grace *metav1.Duration `json:"grace,omitempty"`

	// MaxFailures stops the run when more units than this have failed; 0 means the first stops it.
	// +kubebuilder:validation:XValidation:rule="self >= 0",message="maxFailures must not be negative"
	// +kubebuilder:default=10
	// +optional
	MaxFailures *int32 `json:"maxFailures,omitempty"`

	// Order says who has ordered the run, and why.
	// +optional
	Order *Order `json:"order,omitempty"`
}

// PairProgress counts the units that move from one cell to another.
type PairProgress struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Total    int64  `json:"total"`
	Moved    int64  `json:"moved"`
	InFlight int64  `json:"inFlight"`
	Failed   int64  `json:"failed"`
}

// UnitFailure is one unit that could not be moved yet.
type UnitFailure struct {
	// Key of the unit.
	Key string `json:"key"`
	// From and To are its old and new cell.
	From string `json:"from"`
	To   string `json:"to"`
	// Step that failed, such as "copy".
	Step string `json:"step"`
	// Message says why.
	Message string `json:"message"`
	// Attempts so far.
	Attempts int32 `json:"attempts"`
	// Retrying says that the failure may pass by itself, such as a cell that does not answer. It does not
	// count against maxFailures before it has lasted for long.
	// +optional
	Retrying bool `json:"retrying,omitempty"`
}

// RebalanceCell is what a run sees of one cell.
type RebalanceCell struct {
	Cell string `json:"cell"`
	// WriteBlock of the units that left or came.
	// +optional
	WriteBlock *WriteBlock `json:"writeBlock,omitempty"`
	// Latency is the 99th percentile of the run's writes to the cell, of late.
	// +optional
	Latency *metav1.Duration `json:"latency,omitempty"`
	// Failing is why the cell cannot be used, empty while it can.
	// +optional
	Failing string `json:"failing,omitempty"`
}

// WriteBlock are quantiles of how long units refused writes.
type WriteBlock struct {
	P50 metav1.Duration `json:"p50"`
	P99 metav1.Duration `json:"p99"`
	Max metav1.Duration `json:"max"`
}

// RebalanceProgress is the progress of a run, enough to take it over.
type RebalanceProgress struct {
	// +optional
	Phase RebalancePhase `json:"phase,omitempty"`
	// Driver is the identity of the one that carries the run out, or did last.
	// +optional
	Driver string `json:"driver,omitempty"`
	// FromEpoch is the epoch in which the run was accepted.
	// +optional
	FromEpoch int64 `json:"fromEpoch,omitempty"`
	// ToEpoch is the epoch in which it ended. It is told before the target becomes the current ring in that epoch: from
	// then on the run is past recall.
	// +optional
	ToEpoch int64 `json:"toEpoch,omitempty"`
	// Pairs counts the units for each pair of cells.
	// +listType=map
	// +listMapKey=from
	// +listMapKey=to
	// +optional
	Pairs []PairProgress `json:"pairs,omitempty"`
	// Failures are the units that failed and are tried again, the first 100 by key.
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Failures []UnitFailure `json:"failures,omitempty"`
	// FailedUnits is how many units count against maxFailures.
	// +optional
	FailedUnits int64 `json:"failedUnits,omitempty"`
	// Window is how many units may be migrating at this time; less than spec.window while a cell is slow.
	// +optional
	Window int32 `json:"window,omitempty"`
	// UnitsPerMinute is how fast units moved of late.
	// +optional
	UnitsPerMinute int64 `json:"unitsPerMinute,omitempty"`
	// EstimatedCompletionTime is when all units will have moved if they go on as fast.
	// +optional
	EstimatedCompletionTime *metav1.Time `json:"estimatedCompletionTime,omitempty"`
	// WriteBlock says how long units refused writes, as far as this driver has seen it.
	// +optional
	WriteBlock *WriteBlock `json:"writeBlock,omitempty"`
	// Cells of both rings.
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=512
	// +optional
	Cells []RebalanceCell `json:"cells,omitempty"`
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Rebalance is one run that moves data from Ring.status.current to Ring.status.target. It stays as
// a record of what was done.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=kubecell,shortName=kcreb
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Driver",type=string,priority=1,JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Window",type=integer,JSONPath=`.spec.window`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Rebalance struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RebalanceSpec `json:"spec"`
	// +optional
	Status RebalanceProgress `json:"status,omitempty"`
}

// RebalanceList is a list of Rebalances.
// +kubebuilder:object:root=true
type RebalanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rebalance `json:"items"`
}

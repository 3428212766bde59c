package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// FailoverReport is what the preflight found. Objects are named "<resource>[.<group>]/<namespace>/<name>"; a
// list holds the first thousand of them, and the number beside it counts all.
type FailoverReport struct {
	// Time when it was made.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// Epoch of the ring that it was made for.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// Workloads of the cell, with all that depends on them, as far as copies and ledgers know of them.
	Workloads int64 `json:"workloads"`
	// Protected of them have a copy with every write that a router acknowledged.
	Protected int64 `json:"protected"`
	// Lost of them were acknowledged and have no copy.
	Lost int64 `json:"lost"`
	// LostKeys names those.
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	LostKeys []string `json:"lostKeys,omitempty"`
	// Stale of them have a copy that lacks an acknowledged write.
	// +optional
	Stale int64 `json:"stale,omitempty"`
	// StaleKeys names those.
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	StaleKeys []string `json:"staleKeys,omitempty"`
	// Corrupt of them have a copy that does not hold what it says.
	// +optional
	Corrupt int64 `json:"corrupt,omitempty"`
	// CorruptKeys names those.
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	CorruptKeys []string `json:"corruptKeys,omitempty"`
	// Unknown is how many more objects there are, by the last count of them: their copies are in cells that do
	// not answer, were in cells that have left the ring since, or were never all made; or their cells would refuse them
	// and they are too many to be named. They count as a loss.
	// +optional
	Unknown int64 `json:"unknown,omitempty"`
	// OldestCopy is for how long the stalest copy has lacked a write.
	// +optional
	OldestCopy *metav1.Duration `json:"oldestCopy,omitempty"`
	// Ages count the copies by how long they have lacked a write, from the freshest.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Ages []CopyAge `json:"ages,omitempty"`
	// LastAnswer of the cell that any router has had.
	// +optional
	LastAnswer *metav1.Time `json:"lastAnswer,omitempty"`
	// Routers, by name.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Routers []FailoverRouter `json:"routers,omitempty"`
	// Survivors are the cells that take the workloads over.
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Survivors []FailoverSurvivor `json:"survivors,omitempty"`
	// Blockers keep the run from beginning.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Blockers []string `json:"blockers,omitempty"`
	// Warnings say what the report cannot know, such as what a router took along that died.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Warnings []string `json:"warnings,omitempty"`
}

// CopyAge counts copies that have lacked a write for no longer than a time.
type CopyAge struct {
	// UpTo is that time; absent in the last, which counts all that are older.
	// +optional
	UpTo *metav1.Duration `json:"upTo,omitempty"`
	// Copies that are in no earlier class.
	Copies int64 `json:"copies"`
}

// FailoverRouter is what one router says of the cell, and of what it wrote there.
type FailoverRouter struct {
	Name string `json:"name"`
	// Epoch that it acknowledges.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// Answered says that the router could be asked.
	Answered bool `json:"answered"`
	// Started is since when the router remembers what it acknowledged; of one that was restarted, or has left, since the run
	// asked it first, since when the first one did.
	// +optional
	Started *metav1.Time `json:"started,omitempty"`
	// SeesCell says that the cell answers this router.
	// +optional
	SeesCell bool `json:"seesCell,omitempty"`
	// LastAnswer of the cell to this router.
	// +optional
	LastAnswer *metav1.Time `json:"lastAnswer,omitempty"`
	// Complete says that its ledger has every write that it acknowledged and that no copy is known to have.
	// +optional
	Complete bool `json:"complete,omitempty"`
	// IncompleteSince is when the interval begins for which its ledger may be short.
	// +optional
	IncompleteSince *metav1.Time `json:"incompleteSince,omitempty"`
	// Message says why it could not be asked.
	// +optional
	Message string `json:"message,omitempty"`
}

// FailoverSurvivor is the load that one cell takes over.
type FailoverSurvivor struct {
	Cell string `json:"cell"`
	// Takes is how many objects are promoted there.
	Takes int64 `json:"takes"`
	// Workloads that it has then; absent where they were never counted.
	// +optional
	Workloads int64 `json:"workloads,omitempty"`
	// Reachable says that the cell answered.
	// +optional
	Reachable bool `json:"reachable,omitempty"`
}

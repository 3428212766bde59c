package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretReference names a Secret in the namespace kubecell-system of the RCP.
type SecretReference struct {
	// Name of the Secret; its key "kubeconfig" holds a kubeconfig.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// CellSpec says how to reach a cell. Labels that place a cell in the world, such as
// topology.kubernetes.io/zone, are labels of the Cell object.
type CellSpec struct {
	// Endpoints are the base URLs of the cell's apiservers; where absent, the server of the
	// kubeconfig is used. All of them must accept the kubeconfig's credentials.
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(e, e.startsWith('https://'))",message="an endpoint is a URL that begins with https://"
	// +optional
	Endpoints []string `json:"endpoints,omitempty"`

	// KubeconfigSecretRef is where the credentials for this cell are kept.
	KubeconfigSecretRef SecretReference `json:"kubeconfigSecretRef"`

	// Maintenance says that the cell is worked on: runs that would need it do not start.
	// +optional
	Maintenance bool `json:"maintenance,omitempty"`
}

// CellCounts are numbers of objects in one cell, as last counted.
type CellCounts struct {
	// Workloads are the units whose primary copy lives in the cell.
	Workloads int64 `json:"workloads"`
	// Envelopes are the backup copies that the cell holds for others.
	Envelopes int64 `json:"envelopes"`
	// Tombstones are migrated objects whose grace period has not ended.
	Tombstones int64 `json:"tombstones"`
}

// CellBackup is how the backup of a cell stands, as a backup daemon saw it last: one that was started when the cell did not
// answer any more knows nothing of it, and leaves what was said before.
type CellBackup struct {
	// Time when it was so.
	Time metav1.Time `json:"time"`
	// Complete says that the daemon knows everything that the cell has.
	// +optional
	Complete bool `json:"complete,omitempty"`
	// Objects have to have an envelope: workloads and what depends on them.
	Objects int64 `json:"objects"`
	// Pending of them have a change that is in no envelope yet.
	Pending int64 `json:"pending"`
	// Unprotected of them have no envelope that could be promoted.
	Unprotected int64 `json:"unprotected"`
	// Unproven is how many of its envelopes were not rehearsed yet: whether their cells would take the objects is not known.
	// Those in cells that have not answered since the daemon was started are among them.
	// +optional
	Unproven int64 `json:"unproven,omitempty"`
	// UnprotectedObjects are the first twenty of these.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	UnprotectedObjects []UnprotectedObject `json:"unprotectedObjects,omitempty"`
	// Cells that hold its envelopes, by name.
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Cells []BackupPair `json:"cells,omitempty"`
}

// BackupPair is what one cell holds for another.
type BackupPair struct {
	// Cell that holds the envelopes.
	Cell string `json:"cell"`
	// Envelopes that it holds.
	Envelopes int64 `json:"envelopes"`
	// Pending of the objects have a change that is in none of these yet, Unprotected have none that could be promoted. One whose
	// key moves counts for both of its cells.
	// +optional
	Pending int64 `json:"pending,omitempty"`
	// +optional
	Unprotected int64 `json:"unprotected,omitempty"`
	// Time when it was so, where the cell has not answered the backup daemon since that was started; absent where it was so
	// when the rest was.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// LagP50 and LagP99 are quantiles of the time from a change to its envelope, of the newest thousand.
	// +optional
	LagP50 *metav1.Duration `json:"lagP50,omitempty"`
	// +optional
	LagP99 *metav1.Duration `json:"lagP99,omitempty"`
}

// UnprotectedObject is one that a failover of its cell would lose, or could not make again.
type UnprotectedObject struct {
	// Object is "<resource>[.<group>] <namespace>/<name>".
	Object string `json:"object"`
	// Cell that would have to take it.
	Cell string `json:"cell"`
	// Reason is one word: TooLarge, Refused or Unreadable.
	Reason string `json:"reason"`
	// +optional
	Message string `json:"message,omitempty"`
}

// CellStatus is what the federation has seen of a cell.
type CellStatus struct {
	// Version is the cell's Kubernetes version, such as "v1.36.3".
	// +optional
	Version string `json:"version,omitempty"`

	// Counts of objects in the cell.
	// +optional
	Counts *CellCounts `json:"counts,omitempty"`

	// BackupLag is the age of the oldest write of this cell that is not in its backup cell yet.
	// +optional
	BackupLag *metav1.Duration `json:"backupLag,omitempty"`

	// Backup of the cell's objects.
	// +optional
	Backup *CellBackup `json:"backup,omitempty"`

	// Conditions: Reachable, Fenced, Replicated, Frozen, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Cell is one independent control plane of the federation.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=kubecell,shortName=kccell
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Workloads",type=integer,JSONPath=`.status.counts.workloads`
// +kubebuilder:printcolumn:name="Endpoints",type=string,priority=1,JSONPath=`.spec.endpoints`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a cell is named by a DNS label: at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
type Cell struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec CellSpec `json:"spec"`
	// +optional
	Status CellStatus `json:"status,omitempty"`
}

// CellList is a list of Cells.
// +kubebuilder:object:root=true
type CellList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cell `json:"items"`
}

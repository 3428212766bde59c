package v1alpha1

// Names that every part of the federation has to agree on.
const (
	// Namespace holds what this project keeps in the RCP and in each cell: kubeconfig Secrets,
	// Leases and envelopes. Its objects are never sharded.
	Namespace = "kubecell-system"

	// RingName is the name of the only Ring.
	RingName = "default"

	// KubeconfigKey is the key, in the Secret that a Cell refers to, whose value is a kubeconfig.
	KubeconfigKey = "kubeconfig"

	// FieldManager is the server-side-apply and managedFields name of this project's writes.
	FieldManager = "kubecell"
)

// The identity in a cell of whoever moves objects. Nobody logs in with it: the credentials that were
// given to `add` impersonate it. The fence lets this group through and nobody else.
const (
	// UserMover is its user name, under which audit logs show what was moved.
	UserMover = "kubecell:mover"
	// GroupMovers is its group.
	GroupMovers = "kubecell:movers"
)

// Labels and annotations that this project sets on objects of others.
const (
	// LabelRebalanceStatus marks an object in migration; see [RebalanceStatus].
	LabelRebalanceStatus = GroupName + "/rebalance-status"

	// LabelComponent, on a Lease in the RCP, says what registers with it: "router".
	LabelComponent = GroupName + "/component"

	// AnnotationEpoch, on that Lease, is the newest epoch that the component acknowledges: it serves it,
	// and every write that it had begun in an earlier one is finished.
	AnnotationEpoch = GroupName + "/epoch"

	// AnnotationWindow, on that Lease, is the newest [RingStatus.Window] that is acknowledged likewise.
	AnnotationWindow = GroupName + "/window"

	// AnnotationAdminURL, on that Lease, is the base URL of the component's admin port.
	AnnotationAdminURL = GroupName + "/admin-url"

	// LabelBackupCell names the backup cell of the workload that an envelope holds.
	LabelBackupCell = GroupName + "/backup-cell-id"

	// LabelSourceCell, on an envelope, names the cell that the object in it is from.
	LabelSourceCell = GroupName + "/source-cell"

	// AnnotationEnvelope, on an envelope, says as JSON what is in it; see pkg/envelope.
	AnnotationEnvelope = GroupName + "/envelope"

	// AnnotationPromoted, on an envelope, is the UID of the object that was made from it.
	AnnotationPromoted = GroupName + "/promoted"

	// AnnotationReplicatedFrom, on the copy of a Replicated object in a cell, is the UID of its
	// source in the RCP. Its absence tells an object that the cell made for itself.
	AnnotationReplicatedFrom = GroupName + "/replicated-from"

	// AnnotationAdopts, on a namespace or a definition in the RCP, is the UID of an earlier one of that name, whose copies in
	// the cells, with what belongs to them, become those of this one: for a source that was lost and is made anew.
	AnnotationAdopts = GroupName + "/adopts-copies-of"

	// AnnotationPlacementEpoch, on a sharded object, is the epoch of the ring in which it last moved.
	// It leads the object's resource version as the router shows it, so that versions grow across a
	// move. An object that never moved has none.
	AnnotationPlacementEpoch = GroupName + "/placement-epoch"

	// AnnotationPromotedFrom, on an object that a failover brought back, is what of: "<cell>/<UID>/<resource version>" as
	// the dead cell had it. A failback knows by it that the cell says nothing that was not brought back.
	AnnotationPromotedFrom = GroupName + "/promoted-from"
)

// EnvelopeType is the type of the Secrets that are envelopes.
const EnvelopeType = GroupName + "/workload-backup"

// A config map in kubecell-system of the RCP, with the first for its [LabelComponent], tells under the second how far
// the backup of a cell has come.
const (
	ComponentMarks = "backup-marks"
	MarksKey       = "marks"
	// UnprotectedKey is the key for the objects that marks pass without an envelope, as a list in JSON.
	UnprotectedKey = "unprotected"
	// MarksPrefix, before the name of the cell, makes that of the config map.
	MarksPrefix = "kubecell-marks-"
)

// MoverFieldManager is the managedFields name of the writes that move an object. Its entries are taken
// out of an object that has arrived.
const MoverFieldManager = FieldManager + "-mover"

// Annotations that an object has in its old cell from the mark on, and that its tombstone keeps.
const (
	// AnnotationRebalance is the name of the Rebalance that moves the object.
	AnnotationRebalance = GroupName + "/rebalance"
	// AnnotationUnit is the key of the unit that the object moves with. An envelope has it as well.
	AnnotationUnit = GroupName + "/unit"
	// AnnotationMovesTo is the new cell.
	AnnotationMovesTo = GroupName + "/moves-to"
	// AnnotationMigrationTime is when the value of [LabelRebalanceStatus] was last set, in RFC 3339,
	// UTC and whole seconds. A tombstone's grace begins then.
	AnnotationMigrationTime = GroupName + "/migration-time"
)

// Annotations that a copy has in its new cell while it is [Incoming].
const (
	// AnnotationFromCell is the old cell.
	AnnotationFromCell = GroupName + "/from-cell"
	// AnnotationFromUID is the UID of the object in the old cell.
	AnnotationFromUID = GroupName + "/from-uid"
	// AnnotationFromVersion is the resource version in the old cell that was copied.
	AnnotationFromVersion = GroupName + "/from-version"
	// AnnotationContentHash is the SHA-256 of what was copied: everything but what a server sets.
	AnnotationContentHash = GroupName + "/content-hash"
	// AnnotationKept is when a later call took the copy over as it was, in nanoseconds since 1970.
	AnnotationKept = GroupName + "/kept"
	// AnnotationManagedFields holds the managedFields of an object with finalizers or owners: its
	// tombstone has none of these, and so not the managedFields of them either.
	AnnotationManagedFields = GroupName + "/managed-fields"
)

// FinalizerCells keeps a namespace or a CustomResourceDefinition in the RCP until every
// cell has deleted its copy and all that hung from it.
const FinalizerCells = GroupName + "/cells"

// AnnotationQuota says on a ResourceQuota in the RCP what the cells get of it: [QuotaDivided], which
// is what it means to have no such annotation, or [QuotaWhole].
const AnnotationQuota = GroupName + "/quota"

// Values of [AnnotationQuota].
const (
	// QuotaDivided gives each cell a part that follows what it uses: all parts together are the whole.
	QuotaDivided = "Divided"
	// QuotaWhole gives each cell the whole, so that all cells together may admit a multiple of it.
	QuotaWhole = "Whole"
)

// AnnotationQuotaPart on a cell's copy of a divided ResourceQuota is the generation of the part that it
// states; see pkg/quota.
const AnnotationQuotaPart = GroupName + "/quota-part"

// RebalanceStatus is a value of [LabelRebalanceStatus]: the state of one object's migration, kept
// on the object itself so that no router needs an index of what has moved.
type RebalanceStatus string

const (
	// Migrating is set in the old cell: reads stay there, writes are refused until it has moved.
	Migrating RebalanceStatus = "migrating"
	// Migrated is set in the old cell: a tombstone; the object lives in the new cell.
	Migrated RebalanceStatus = "migrated"
	// Incoming is set in the new cell on a copy that does not count yet.
	Incoming RebalanceStatus = "incoming"
)

// AnnotationDetached says, on a Rebalance, that nobody is going to drive it but a backup daemon, which
// need not wait for anybody.
const AnnotationDetached = GroupName + "/detached"

// RebalanceLease is the Lease in kubecell-system whose holder drives the Rebalance that runs.
const RebalanceLease = "kubecell-rebalance"

// FailoverLease is the Lease in kubecell-system whose holder drives the Failover that runs.
const FailoverLease = "kubecell-failover"

// Condition types of Ring and Cell.
const (
	// ConditionReachable is true while the cell's apiserver answers.
	ConditionReachable = "Reachable"
	// ConditionReady is true while the cell can take workloads.
	ConditionReady = "Ready"
	// ConditionFenced is true while the cell refuses writes to objects in migration.
	ConditionFenced = "Fenced"
	// ConditionReplicated is true while the cell holds a copy of every Replicated object.
	ConditionReplicated = "Replicated"
	// ConditionFrozen is true while the cell refuses the writes of everybody but the movers. A cell that was
	// failed over is frozen until its failback.
	ConditionFrozen = "Frozen"
)

// Reasons of [ConditionFrozen].
const (
	// ReasonFreezeInForce: a write was tried, and refused.
	ReasonFreezeInForce = "InForce"
	// ReasonFreezeUnreachable: the cell does not answer, and will be frozen on first contact.
	ReasonFreezeUnreachable = "Unreachable"
	// ReasonFreezeUnsupported: the cell's apiserver does not serve admission policies.
	ReasonFreezeUnsupported = "Unsupported"
	// ReasonFreezeFailed: the cell answers, and could not be frozen.
	ReasonFreezeFailed = "Failed"
	// ReasonThawed: the cell is in use again.
	ReasonThawed = "Thawed"
)

// Reasons of [ConditionFenced].
const (
	// ReasonFenceInForce: a write to an object in migration was tried, and refused.
	ReasonFenceInForce = "InForce"
	// ReasonFenceUnsupported: the cell's apiserver does not serve admission policies.
	ReasonFenceUnsupported = "Unsupported"
	// ReasonFenceFailed: the fence could not be installed, or did not come in force in time.
	ReasonFenceFailed = "Failed"
	// ReasonFenceRemoved: the fence was taken off, since the cell is to leave the federation.
	ReasonFenceRemoved = "Removed"
)

// Condition types that this project sets on objects of others.
const (
	// ConditionCellsRemaining, on a namespace or a definition that is being deleted, is true while
	// cells have not deleted their copies; its message names them.
	ConditionCellsRemaining = "CellsRemaining"
)

package history

// Status is the state of a migration that an object in a cell is marked with; empty for none.
type Status string

// The values are those of the label.
const (
	Migrating Status = "migrating"
	Migrated  Status = "migrated"
	Incoming  Status = "incoming"
)

// Copy is an object as one cell has it. Its version is the cell's own.
type Copy struct {
	State
	Status Status
}

// Read is all objects of one cell, by key, as they were at one moment between the call and the return of the read.
type Read struct {
	Cell   string
	Copies map[string]Copy
}

// Round is reads one after another: none begins before the one before it has returned.
type Round []Read

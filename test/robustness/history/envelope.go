package history

// Envelope is the backup of an object, as a cell has it.
type Envelope struct {
	// Cell is where it is; Source and Backup are the cells that it names.
	Cell, Source, Backup string
	// Key is that of the object; the envelope's own name where it cannot be read.
	Key string
	// State is that of the object in it. Its version is the source cell's own.
	State State
	// Problem says why it cannot be read; empty where it can.
	Problem string
}

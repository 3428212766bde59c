package history

// Shown is what a failback says of the objects that differ in the cell.
type Shown struct {
	// Verdicts of those that it names, by key.
	Verdicts map[string]string
	// All says that it names all of them.
	All bool
	// Counts are how many there are of each verdict.
	Counts map[string]int
}

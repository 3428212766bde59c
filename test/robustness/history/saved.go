package history

// Saved is what a failback kept of an object, in files.
type Saved struct {
	// Cell and Federation are the two versions; nil where there is no file.
	Cell, Federation *State
	// Diff is what differs, in words for people; empty where there is no file.
	Diff string
}

package migration

// StepName is one of the steps of the package documentation.
type StepName string

// The steps, in the order in which an undisturbed unit takes them.
const (
	Marked   StepName = "marked"
	Barred   StepName = "barred"
	Created  StepName = "created"
	Kept     StepName = "kept"
	Updated  StepName = "updated"
	Stated   StepName = "stated"
	Verified StepName = "verified"
	Flipped  StepName = "flipped"
	Revealed StepName = "revealed"

	Released  StepName = "released"
	Discarded StepName = "discarded"
	Unmarked  StepName = "unmarked"
)

// StepNames are all steps.
func StepNames() []StepName {
	return []StepName{
		Marked, Barred, Created, Kept, Updated, Stated, Verified, Flipped, Revealed, Released, Discarded, Unmarked,
	}
}

// Step is reported after it was done, before the next request is made.
type Step struct {
	Name StepName
	Unit Unit
	// Object is nil for Barred, which is the unit's.
	Object *Object
}

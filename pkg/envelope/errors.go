package envelope

import "fmt"

// TooLargeError says that an object does not fit in an envelope. It is terminal until the object shrinks: whoever
// backs it up reports it as unprotected.
type TooLargeError struct {
	// Size is how many bytes it would take, Limit how many there may be.
	Size, Limit int
}

// Error says how much it is too large.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the object takes %d bytes, of which an envelope holds %d at the most", e.Size, e.Limit)
}

// CorruptError says that an envelope is not what was sealed: somebody else wrote it, or changed it. It is never
// promoted; while the primary lives the envelope is made again.
type CorruptError struct {
	// Name of the Secret.
	Name string
	// Problem says what is wrong.
	Problem string
	// Cause where there is one.
	Cause error
}

// Error names the envelope and the problem.
func (e *CorruptError) Error() string {
	text := fmt.Sprintf("envelope %s is corrupt: %s", e.Name, e.Problem)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }

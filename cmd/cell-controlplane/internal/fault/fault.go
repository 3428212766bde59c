// Package fault owns errors that an administrator reads: what failed, what to do about it, and the
// exit code that scripts may rely on.
//
// It does not decide when a process ends; only main does, with [Code].
package fault

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes of the binary. They are part of its contract.
const (
	Failed   = 1 // the command was understood and failed
	Usage    = 2 // the command line was not understood
	LockHeld = 4 // another process runs the same control plane
)

// Error is an error with a hint for the reader and an exit code.
type Error struct {
	Err  error
	Hint string
	Exit int
}

// New returns an error that ends the process with [Failed] and shows the hint.
func New(err error, hint string) *Error {
	return &Error{Err: err, Hint: hint, Exit: Failed}
}

// Error implements error, without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives access to the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code for an error: 0 for none, [Failed] for one without a code of its own.
func Code(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Exit != 0 {
		return e.Exit
	}
	return Failed
}

// Print writes the error in the form that all commands share.
func Print(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %s\n", err)
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", e.Hint)
	}
}

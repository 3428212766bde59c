// Package exit defines how a command can end: the documented exit codes, and the error that carries
// one of them together with a hint for the person who reads it.
//
// Any package may return an [Error] where it knows better than its caller what the user should do
// next. An error that carries none ends a command with [Failure]. Codes are an API: scripts rely on
// them, and docs/exit-codes.md lists them.
package exit

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Code is the exit status of a command.
type Code int

const (
	// OK: done, or nothing to do.
	OK Code = 0
	// Failure: an error; for diff, there are differences.
	Failure Code = 1
	// Usage: the command line is wrong; for diff, an error.
	Usage Code = 2
	// Findings: the command worked and what it looked for is there.
	Findings Code = 3
	// Refused: a safety gate said no; nothing was changed.
	Refused Code = 4
	// TimedOut: the wait ended, the work goes on.
	TimedOut Code = 5
	// Partial: some of the work is done, the rest is named.
	Partial Code = 6
	// NeedsConfirmation: a question must be answered and there is no terminal.
	NeedsConfirmation Code = 7
	// Detached: ended by Ctrl-C; work that was started goes on.
	Detached Code = 130
)

// Error is an error for people: what went wrong, what to do about it, and the exit code.
type Error struct {
	Code Code
	Err  error
	// Hint is a next step, best a command that can be run as it is; may be empty.
	Hint string
}

// Errorf returns an Error with the given code; the format is that of fmt.Errorf, with %w.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Usagef is Errorf with [Usage].
func Usagef(format string, args ...any) *Error {
	return Errorf(Usage, format, args...)
}

// Refusedf is Errorf with [Refused].
func Refusedf(format string, args ...any) *Error {
	return Errorf(Refused, format, args...)
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Find returns the Error that err carries, or nil.
func Find(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// CodeOf returns the code that err carries, OK for nil, and Failure for any other error.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Failure
}

// Report writes err and its hint to w as a person should see them. A nil error writes nothing, and
// so does one with an empty message: its command has already said everything.
func Report(w io.Writer, err error) {
	if err == nil || err.Error() == "" {
		return
	}
	fmt.Fprintf(w, "error: %s\n", strings.TrimRight(err.Error(), "\n"))
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", e.Hint)
	}
}

// Silent returns an error with the given code and no message, for a command whose output has
// already said why, such as diff.
func Silent(code Code) *Error {
	return &Error{Code: code, Err: errors.New("")}
}

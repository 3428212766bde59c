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

// Plugin is what hints and advice call this program. People may have to type something else: an index may install it under
// another name, and without the connection flags that they gave a command acts on another control plane. [Error.Hint] and
// [Typed] say that then, of commands of kubectl itself, too.
const Plugin = "kubectl cell"

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
	// hint is the format of the hint, and words are what it is filled with; they are other people's.
	hint  string
	words []any
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

// WithHint sets the hint, which is a next step, best a command that can be run as it is, and returns e. A format that
// says [Plugin], or names a command of kubectl, is printed with what the person typed in its place; the arguments are
// printed as they are.
func (e *Error) WithHint(format string, args ...any) *Error {
	if false {
		_ = fmt.Sprintf(format, args...) // has vet check the format
	}
	e.hint, e.words = format, args
	return e
}

// WithHintOf gives e the hint that err carries, if there is one, and returns e.
func (e *Error) WithHintOf(err error) *Error {
	if known := Find(err); known != nil && known.hint != "" {
		return e.WithHint(known.hint, known.words...)
	}
	return e
}

// Hint is the hint for somebody who types program to get here, such as [Plugin]; empty where there is none.
func (e *Error) Hint(program string) string {
	return fmt.Sprintf(typed(strings.ReplaceAll(program, "%", "%%"), "").Replace(e.hint), e.words...)
}

// HintOf is the hint that err carries, for somebody who types program; empty where there is none.
func HintOf(err error, program string) string {
	if known := Find(err); known != nil {
		return known.Hint(program)
	}
	return ""
}

// Typed is a text of this tool that names commands, for somebody who types program.
func Typed(program, text string) string {
	return typed(program, " ").Replace(text)
}

// typed puts program in the place of [Plugin] with something behind it, and its flags, if it has any, into the commands of
// kubectl that this tool names.
func typed(program, behind string) *strings.Replacer {
	swap := []string{Plugin + behind, program + behind}
	if _, flags, given := strings.Cut(program, " --"); given {
		for _, verb := range []string{"get", "edit", "delete", "auth", "cluster-info"} {
			swap = append(swap, "kubectl "+verb+" ", "kubectl --"+flags+" "+verb+" ")
		}
	}
	return strings.NewReplacer(swap...)
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

// Report writes err and its hint to w as a person should see them who types program. A nil error writes nothing, and
// so does one with an empty message: its command has already said everything.
func Report(w io.Writer, program string, err error) {
	if err == nil || err.Error() == "" {
		return
	}
	fmt.Fprintf(w, "error: %s\n", strings.TrimRight(err.Error(), "\n"))
	if hint := HintOf(err, program); hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", hint)
	}
}

// Silent returns an error with the given code and no message, for a command whose output has
// already said why, such as diff.
func Silent(code Code) *Error {
	return &Error{Code: code, Err: errors.New("")}
}

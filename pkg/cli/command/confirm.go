package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Confirm asks a question whose answer is No unless the person types y or yes. It returns nil for a
// yes. Without a terminal nobody is asked: the error has [exit.NeedsConfirmation] and names the command that
// asks nothing.
func (e *Env) Confirm(ctx context.Context, question string) error {
	answer, err := e.ask(ctx, question+" [y/N]: ")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer == "y" || answer == "yes" {
		return nil
	}
	return declined()
}

// ConfirmName asks for a name to be typed, for what should not happen by a habit of the fingers. It
// returns nil when exactly that was typed; without a terminal it is like Confirm.
func (e *Env) ConfirmName(ctx context.Context, what, name string) error {
	answer, err := e.ask(ctx, fmt.Sprintf("%s\nType %s to confirm: ", what, name))
	if err != nil {
		return err
	}
	if answer == name {
		return nil
	}
	return declined()
}

func declined() error {
	return exit.Refusedf("not confirmed; nothing was changed")
}

// ask returns the answer to a question, or an error with [exit.Detached] as soon as ctx ends. What reads standard input
// then ends with the process: a read of a terminal cannot be taken back.
func (e *Env) ask(ctx context.Context, question string) (string, error) {
	if !e.Interactive {
		first, _, _ := strings.Cut(question, "\n")
		return "", exit.Errorf(exit.NeedsConfirmation, "this needs a confirmation, and there is no terminal to ask: %s", strings.TrimSuffix(first, " [y/N]: ")).
			WithHint("%s", e.answered())
	}
	fmt.Fprint(e.ErrOut, question)
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(e.In).ReadString('\n')
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.ErrOut)
		return "", exit.Errorf(exit.Detached, "left at the question; nothing was changed")
	case a := <-answered:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("read answer: %w", a.err)
		}
		return strings.TrimSpace(a.line), nil
	}
}

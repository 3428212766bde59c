package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Confirm asks a question whose answer is No unless the person types y or yes. It returns nil for a
// yes. Without a terminal nobody is asked: the error has [exit.NeedsConfirmation] and says which flag
// answers instead.
func (e *Env) Confirm(question string) error {
	answer, err := e.ask(question+" [y/N]: ", "--yes answers the question")
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
func (e *Env) ConfirmName(what, name string) error {
	answer, err := e.ask(fmt.Sprintf("%s\nType %s to confirm: ", what, name), "--yes answers the question")
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

func (e *Env) ask(question, hint string) (string, error) {
	if !e.Interactive {
		first, _, _ := strings.Cut(question, "\n")
		return "", exit.Errorf(exit.NeedsConfirmation, "this needs a confirmation, and there is no terminal to ask: %s", strings.TrimSuffix(first, " [y/N]: ")).
			WithHint("%s", hint)
	}
	fmt.Fprint(e.ErrOut, question)
	line, err := bufio.NewReader(e.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

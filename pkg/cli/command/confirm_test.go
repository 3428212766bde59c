package command

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

func TestConfirmations(t *testing.T) {
	yesNo := func(e *Env) error { return e.Confirm(t.Context(), "Remove cell-3?") }
	name := func(e *Env) error { return e.ConfirmName(t.Context(), "This forgets cell-3.", "cell-3") }
	for title, test := range map[string]struct {
		ask      func(*Env) error
		typed    string
		terminal bool
		want     exit.Code
	}{
		"yes":                   {yesNo, "yes\n", true, exit.OK},
		"Y":                     {yesNo, "Y\n", true, exit.OK},
		"return alone is no":    {yesNo, "\n", true, exit.Refused},
		"end of input is no":    {yesNo, "", true, exit.Refused},
		"no terminal":           {yesNo, "yes\n", false, exit.NeedsConfirmation},
		"the name":              {name, "cell-3\n", true, exit.OK},
		"another name":          {name, "cell-2\n", true, exit.Refused},
		"yes is not the name":   {name, "yes\n", true, exit.Refused},
		"name without terminal": {name, "cell-3\n", false, exit.NeedsConfirmation},
	} {
		t.Run(title, func(t *testing.T) {
			var out bytes.Buffer
			env := &Env{
				IOStreams:   genericiooptions.IOStreams{In: strings.NewReader(test.typed), ErrOut: &out},
				Interactive: test.terminal,
			}
			if got := exit.CodeOf(test.ask(env)); got != test.want {
				t.Errorf("exit code %d; want %d", got, test.want)
			}
			if asked := out.Len() > 0; asked != test.terminal {
				t.Errorf("asked %v; want %v", asked, test.terminal)
			}
		})
	}
}

// Where nobody can be asked, the next command is named: the one that was typed, and the answer.
func TestTheCommandThatAsksNothing(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"rebalance", "--window", "50"}, "kubectl cell rebalance --window 50 --yes"},
		{[]string{"--context=a b", "remove", "it's"}, `kubectl cell '--context=a b' remove 'it'\''s' --yes`},
		{[]string{"remove", "--", "cell-2"}, "kubectl cell remove --yes -- cell-2"},
		{[]string{"remove", "cell-2", "--token=x"}, "the same command with --yes"},
		{[]string{"remove", "cell-2", "--token", "x"}, "the same command with --yes"},
		{nil, "the same command with --yes"},
	} {
		env := &Env{Program: "kubectl cell", Args: test.args}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.String("context", "", "")
		if err := flags.Set("context", "a b"); err != nil {
			t.Fatal(err)
		}
		env.Aim(flags) // which says nothing twice
		if got := exit.HintOf(env.Confirm(t.Context(), "Go on?"), env.Program); got != test.want {
			t.Errorf("%q: hint %s; want %s", test.args, got, test.want)
		}
	}
}

// Whoever presses Ctrl-C at a question is not made to answer it first.
func TestAQuestionIsLeft(t *testing.T) {
	in, typist := io.Pipe()
	defer typist.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		<-asked
		cancel()
	}()
	env := &Env{IOStreams: genericiooptions.IOStreams{In: in, ErrOut: notice{asked}}, Interactive: true}
	if got := exit.CodeOf(env.ConfirmName(ctx, "This forgets cell-3.", "cell-3")); got != exit.Detached {
		t.Errorf("exit code %d; want %d", got, exit.Detached)
	}
}

// notice is a writer that tells of the first question.
type notice struct{ asked chan struct{} }

func (n notice) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("to confirm")) {
		close(n.asked)
	}
	return len(p), nil
}

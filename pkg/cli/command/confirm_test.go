package command

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

func TestConfirmations(t *testing.T) {
	yesNo := func(e *Env) error { return e.Confirm("Remove cell-3?") }
	name := func(e *Env) error { return e.ConfirmName("This forgets cell-3.", "cell-3") }
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

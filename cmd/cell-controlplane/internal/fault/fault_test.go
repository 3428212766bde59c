package fault

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestCodeAndPrint(t *testing.T) {
	held := &Error{Err: errors.New("it is held"), Hint: "let go", Exit: LockHeld}
	for name, test := range map[string]struct {
		err  error
		code int
		text string
	}{
		"plain":       {errors.New("broken"), Failed, "error: broken\n"},
		"hinted":      {New(errors.New("broken"), "mend it"), Failed, "error: broken\n  hint: mend it\n"},
		"own code":    {held, LockHeld, "error: it is held\n  hint: let go\n"},
		"wrapped":     {fmt.Errorf("starting: %w", held), LockHeld, "error: starting: it is held\n  hint: let go\n"},
		"no own code": {&Error{Err: errors.New("broken")}, Failed, "error: broken\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Code(test.err); got != test.code {
				t.Errorf("code: got %d, want %d", got, test.code)
			}
			var out bytes.Buffer
			Print(&out, test.err)
			if out.String() != test.text {
				t.Errorf("text: got %q, want %q", out.String(), test.text)
			}
		})
	}
	if got := Code(nil); got != 0 {
		t.Errorf("no error: got code %d", got)
	}
}

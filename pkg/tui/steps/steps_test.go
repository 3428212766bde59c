package steps_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

var update = flag.Bool("update", false, "write golden files")

func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func story() []steps.Event {
	return []steps.Event{
		{Step: "rcp", State: steps.Running, At: at(0)},
		{Step: "cell-1", State: steps.Running, At: at(0)},
		{Step: "cell-zwölf", State: steps.Running, At: at(0.1)},
		{Step: "rcp", State: steps.Done, Detail: "https://127.0.0.1:21001", At: at(2.1)},
		{Step: "cell-1", State: steps.Already, Detail: "https://127.0.0.1:21002", At: at(2.2)},
		{Step: "cell-zwölf", State: steps.Note, Detail: "port 21003 is in use by another program, taking 21044", At: at(2.3)},
		{Step: "router", State: steps.Running, At: at(2.4)},
		{Step: "cell-zwölf", State: steps.Failed, At: at(3)},
	}
}

func TestRender(t *testing.T) {
	for _, width := range []int{0, 40, 80, 160} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			model := steps.Model{Title: "sandbox cell-sandbox", Width: width}
			for _, e := range story() {
				model = model.Apply(e)
			}
			got := steps.Render(model.At(at(12.34)))
			for line := range strings.Lines(got) {
				if w := ansi.StringWidth(strings.TrimRight(line, "\n")); width > 0 && w > width {
					t.Errorf("line is %d columns wide: %q", w, line)
				}
			}
			golden := filepath.Join("testdata", fmt.Sprintf("width-%d.golden", width))
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("picture changed (-want +got):\n%s", diff)
			}
		})
	}
}

// A model is a value: one that was kept is not changed by events applied to it later.
func TestApplyIsPure(t *testing.T) {
	events := story()
	kept := steps.Model{Title: "t"}
	for _, e := range events[:3] {
		kept = kept.Apply(e)
	}
	before := steps.Render(kept)
	for _, e := range events[3:] {
		kept.Apply(e)
	}
	if diff := cmp.Diff(before, steps.Render(kept)); diff != "" {
		t.Errorf("a later event changed the model:\n%s", diff)
	}
}

func TestRunReturnsTheOperationsError(t *testing.T) {
	failure := errors.New("no luck")
	var out bytes.Buffer
	err := steps.Run(&out, []string{"TERM=xterm"}, "title", at(0), func(tell func(steps.Event)) error {
		tell(steps.Event{Step: "cell-1", State: steps.Done, Detail: "https://x", At: at(1)})
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("run: %v, want %v", err, failure)
	}
	if !strings.Contains(ansi.Strip(out.String()), "cell-1") {
		t.Errorf("the last picture is not on the terminal: %q", out.String())
	}
}

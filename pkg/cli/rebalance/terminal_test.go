//go:build linux

package rebalance_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/tui/terminaltest"
)

const ctrlC = "\x03"

var capture = flag.Bool("capture", false, "write what TestOnATerminal sees to docs/rebalance-screens.md")

// open runs kubectl cell on a terminal.
func (b *bed) open(t *testing.T, width, height int, args ...string) *terminaltest.Terminal {
	t.Helper()
	return terminaltest.Start(t, width, height, b.environ, b.binary, args...)
}

// TestOnATerminal drives a run by keys: it is paused, gets another window, another size, is left to the backup
// daemon, and looked at from another terminal.
func TestOnATerminal(t *testing.T) {
	b := newBed(t)
	b.change(t)
	screen := b.open(t, 80, 24, "rebalance", "--window", "2", "--rate", "1")
	screen.AwaitText("Type cell-2 to confirm")
	screen.Press("cell-2\r")
	screen.AwaitText("┌ rebalance r-", "(this process)", "Moving", "window 2/2", " migrated", "d detach · ? help")
	shots := shots{{"Moving, 80×24", screen.Await("a frame of 80x24", func(screen string) bool { return isFrame(screen, 80, 24) && moves(screen) >= 3 })}}

	screen.Press("p")
	screen.AwaitText("Paused", "p resume")
	b.await(t, "the run to be paused", func(run *v1alpha1.Rebalance) bool { return run.Spec.Paused })
	screen.Press("+")
	screen.AwaitText("window set to 5")
	b.await(t, "the window to be 5", func(run *v1alpha1.Rebalance) bool { return run.Spec.Window == 5 })
	screen.Press("?")
	shots.add("?, the keys, while it is paused, 80×24", screen.AwaitText("let units in flight finish and begin no others", "esc back"))
	screen.Press("?")
	screen.AwaitText("CELL", "p resume")
	screen.Press("p")
	screen.AwaitText("Moving", "window 5/5", "p pause")

	screen.Resize(160, 50)
	shots.add("The same run after the terminal has become larger, 160×50", screen.Await("a frame of 160x50", func(screen string) bool {
		return isFrame(screen, 160, 50) && moves(screen) >= 6
	}))
	screen.Resize(60, 15)
	shots.add("And smaller, 60×15", screen.Await("the compact view", func(screen string) bool {
		return strings.HasPrefix(screen, "r-") && !strings.ContainsAny(screen, "┌│└") && strings.Contains(screen, "Moving")
	}))
	screen.Resize(80, 24)

	screen.Press(ctrlC)
	shots.add("Ctrl-C, 80×24", screen.AwaitText("Leave the screen?", "the backup daemon goes on", "s stay"))
	screen.Press("s")
	screen.AwaitText("d detach · ? help")
	screen.Press(ctrlC)
	screen.AwaitText("Leave the screen?")
	screen.Press("d")
	screen.AwaitText("is left", "the backup daemon goes on; next: kubectl cell rebalance --attach", "undo: kubectl cell rebalance abort")
	if code := screen.Ended(); code != 130 {
		t.Errorf("detached with %d; want 130", code)
	}

	viewer := b.open(t, 80, 24, "rebalance", "--attach")
	shots.add("`kubectl cell rebalance --attach` on another terminal, while the backup daemon drives, 80×24", viewer.Await("another driver", func(screen string) bool {
		title, _, _ := strings.Cut(screen, "\n")
		return strings.Contains(title, " driver ") && !strings.Contains(title, "no driver") && !strings.Contains(title, "you@") && strings.Contains(screen, "Moving")
	}))
	viewer.Press("d")
	viewer.AwaitText("goes on", "next: kubectl cell rebalance --attach")
	if code := viewer.Ended(); code != 130 {
		t.Errorf("the viewer left with %d; want 130", code)
	}
	b.ascii(t)

	b.finish(t, v1alpha1.RebalanceSucceeded)
	if *capture {
		shots.write(t)
	}
}

// ascii looks at the run on a terminal whose locale has no symbols.
func (b *bed) ascii(t *testing.T) {
	t.Helper()
	plain := terminaltest.Start(t, 80, 24, append(slices.Clone(b.environ), "LC_ALL=C"), b.binary, "rebalance", "--attach")
	for _, key := range []string{"", "?", "?", "q"} {
		if key != "" {
			plain.Press(key)
		}
		text := plain.AwaitText(map[string]string{"": "? help", "?": "esc back", "q": "Leave the screen?"}[key])
		if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
			t.Errorf("after %q there are symbols on the screen:\n%s", key, text)
		}
	}
	plain.Press("d")
	plain.AwaitText("goes on", "next: kubectl cell rebalance --attach")
	if code := plain.Ended(); code != 130 {
		t.Errorf("left with %d; want 130", code)
	}
}

// shots are screens, and what they show.
type shots []shot

type shot struct{ what, screen string }

func (s *shots) add(what, screen string) { *s = append(*s, shot{what, screen}) }

func (s shots) write(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# A rebalance on a terminal\n\n" +
		"What a real run showed on a real terminal, with a window of two and one unit a second, as it was resized, left and watched.\n" +
		"Written by `make screens`. All that the screen can say is in [rebalance-tui.md](rebalance-tui.md).\n")
	for _, shot := range s {
		fmt.Fprintf(&b, "\n%s:\n\n```text\n%s\n```\n", shot.what, strings.TrimRight(shot.screen, "\n"))
	}
	if err := os.WriteFile(filepath.Join("..", "..", "..", "docs", "rebalance-screens.md"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSteeredOnATerminal presses the keys that change a run: it pauses itself at the first unit that fails, which is tried
// again, moves one window, and is aborted, which leaves everything where it was.
func TestSteeredOnATerminal(t *testing.T) {
	b := newBed(t)
	b.change(t)
	before := b.homes(t)
	third, makeRoom := b.squatThird(t, before)
	screen := b.open(t, 80, 24, "rebalance", "--window", "5", "--rate", "2", "--max-failures", "0", "--yes")
	screen.AwaitText("Paused", "p resume", third, "maxFailures is 0")
	b.await(t, "the run to have paused itself", func(run *v1alpha1.Rebalance) bool {
		return run.Spec.Paused && run.Status.FailedUnits == 1
	})
	name := b.unfinished(t).Name
	makeRoom()
	b.retry(t, screen)
	b.step(t, screen)
	b.abort(t, screen, name)
	b.whole(t)
	if diff := cmp.Diff(before, b.homes(t)); diff != "" {
		t.Errorf("the aborted run has left items elsewhere (-before +now):\n%s", diff)
	}
}

// retry has what failed tried again, in a run that has paused itself.
func (b *bed) retry(t *testing.T, screen *terminaltest.Terminal) {
	t.Helper()
	screen.Press("r")
	screen.AwaitText("resumed; what failed is tried again")
	b.await(t, "what failed to have moved", func(run *v1alpha1.Rebalance) bool {
		return !run.Spec.Paused && run.Status.FailedUnits == 0 && rebalance.ProgressOf(&run.Status).Moved >= 5
	})
	screen.Press("r")
	screen.AwaitText("tried again by itself while the run is not paused")
}

// step pauses the run, makes its window smaller, and moves one.
func (b *bed) step(t *testing.T, screen *terminaltest.Terminal) {
	t.Helper()
	screen.Press("p")
	screen.AwaitText("Paused", "p resume")
	screen.Press("-")
	screen.AwaitText("window set to 2", "window 2/2")
	var stood rebalance.Progress
	b.await(t, "the run to stand, with a window of 2", func(run *v1alpha1.Rebalance) bool {
		stood = rebalance.ProgressOf(&run.Status)
		return run.Spec.Window == 2 && run.Status.Phase == v1alpha1.RebalancePaused && stood.InFlight == 0
	})
	screen.Press("s")
	screen.AwaitText("moving one window, then pausing")
	b.await(t, "one window to have moved", func(run *v1alpha1.Rebalance) bool {
		return run.Spec.Paused && run.Status.Phase == v1alpha1.RebalancePaused && rebalance.ProgressOf(&run.Status).Moved == stood.Moved+2
	})
	screen.AwaitText("Paused", "p resume")
}

// abort looks at the question whether to leave, and goes back; then it aborts the run, at the second question.
func (b *bed) abort(t *testing.T, screen *terminaltest.Terminal, name string) {
	t.Helper()
	screen.Press("q")
	screen.AwaitText("Leave the screen?", "s stay")
	screen.Press("s")
	screen.AwaitText("p resume", "a abort")
	screen.Press("a")
	screen.AwaitText("y abort")
	screen.Press("n")
	screen.AwaitText("not aborted", "Paused")
	if b.unfinished(t).Spec.Abort {
		t.Error("the run is aborted by another key than y")
	}
	screen.Press("a")
	screen.AwaitText("y abort")
	screen.Press("y")
	screen.AwaitText("rebalance "+name+" is Aborted", "hint: kubectl cell diff")
	if code := screen.Ended(); code != 1 {
		t.Errorf("ended with %d; want 1", code)
	}
}

// TestALostTerminal takes the terminal away in the middle of a run: no unit is left half moved, and the backup
// daemon goes on.
func TestALostTerminal(t *testing.T) {
	b := newBed(t)
	b.change(t)
	screen := b.open(t, 80, 24, "rebalance", "--window", "8", "--rate", "8", "--yes")
	screen.AwaitText("Moving", " migrated")
	driver := b.unfinished(t).Status.Driver
	goOn := b.alone(t)
	screen.HangUp()
	if code := screen.Ended(); code != 130 {
		t.Errorf("ended with %d; want 130", code)
	}
	b.whole(t)
	goOn()
	b.await(t, "another driver", func(run *v1alpha1.Rebalance) bool { return run.Status.Driver != driver })
	b.finish(t, v1alpha1.RebalanceSucceeded)
}

// moves counts the units that a screen tells of.
func moves(screen string) int { return strings.Count(screen, " migrated ") }

// isFrame says whether a screen is full, to its edges.
func isFrame(screen string, width, height int) bool {
	lines := strings.Split(screen, "\n")
	return len(lines) == height && !slices.ContainsFunc(lines, func(line string) bool { return ansi.StringWidth(line) != width })
}

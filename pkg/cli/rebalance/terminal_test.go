//go:build linux

package rebalance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/tui/terminaltest"
)

const ctrlC = "\x03"

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
	screen.Await("a frame of 80x24", func(screen string) bool { return isFrame(screen, 80, 24) })

	screen.Press("p")
	screen.AwaitText("Paused", "p resume")
	b.await(t, "the run to be paused", func(run *v1alpha1.Rebalance) bool { return run.Spec.Paused })
	screen.Press("+")
	screen.AwaitText("window set to 5")
	b.await(t, "the window to be 5", func(run *v1alpha1.Rebalance) bool { return run.Spec.Window == 5 })
	screen.Press("?")
	screen.AwaitText("let units in flight finish and begin no others", "esc back")
	screen.Press("?")
	screen.AwaitText("CELL", "p resume")
	screen.Press("p")
	screen.AwaitText("Moving", "window 5/5", "p pause")

	screen.Resize(160, 50)
	screen.Await("a frame of 160x50", func(screen string) bool { return isFrame(screen, 160, 50) })
	screen.Resize(60, 15)
	screen.Await("the compact view", func(screen string) bool {
		return strings.HasPrefix(screen, "r-") && !strings.ContainsAny(screen, "┌│└") && strings.Contains(screen, "Moving")
	})
	screen.Resize(80, 24)

	screen.Press(ctrlC)
	screen.AwaitText("Leave the screen?", "the backup daemon goes on", "s stay")
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
	viewer.Await("another driver", func(screen string) bool {
		title, _, _ := strings.Cut(screen, "\n")
		return strings.Contains(title, " driver ") && !strings.Contains(title, "you@") && strings.Contains(screen, "Moving")
	})
	viewer.Press("d")
	viewer.AwaitText("goes on", "next: kubectl cell rebalance --attach")
	if code := viewer.Ended(); code != 130 {
		t.Errorf("the viewer left with %d; want 130", code)
	}

	b.finish(t, v1alpha1.RebalanceSucceeded)
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

// isFrame says whether a screen is full, to its edges.
func isFrame(screen string, width, height int) bool {
	lines := strings.Split(screen, "\n")
	return len(lines) == height && !slices.ContainsFunc(lines, func(line string) bool { return ansi.StringWidth(line) != width })
}

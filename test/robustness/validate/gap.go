package validate

import (
	"fmt"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Gap is what a cell that was failed over did with the writes of its own controllers when it came back, until it was
// frozen. Times are those of the record, Never for what did not happen.
type Gap struct {
	Cell string
	// Back is when it was told to go on, 0 for a cell that had to start: that is back when it answers.
	Back int64
	// First is its first answer, Frozen its first refusal for being frozen.
	First, Frozen int64
	// Accepted are the writes that it took.
	Accepted int
}

// GapOf reads it from the writes to a cell; those by way of routers are none of its controllers'.
func GapOf(cell string, back int64, writes []history.Op) Gap {
	g := Gap{Cell: cell, Back: back, First: history.Never, Frozen: history.Never}
	for _, op := range writes {
		switch {
		case op.Via != cell:
		case op.Outcome == history.OK:
			g.Accepted++
			g.First = min(g.First, op.Return)
		case op.Outcome == history.Refused:
			g.First, g.Frozen = min(g.First, op.Return), min(g.Frozen, op.Return)
		}
	}
	return g
}

// String is for the log.
func (g Gap) String() string {
	if g.Frozen == history.Never {
		return fmt.Sprintf("it was never frozen; %d direct writes accepted", g.Accepted)
	}
	text := fmt.Sprintf("frozen %s after its first answer; %d direct writes accepted in between", g.until(g.First), g.Accepted)
	if g.Back > 0 {
		text += fmt.Sprintf("; frozen %s after it went on", g.until(g.Back))
	}
	return text
}

// until is from a time to when the cell was frozen.
func (g Gap) until(from int64) time.Duration {
	return time.Duration(g.Frozen - from).Round(time.Millisecond)
}

// FrozenWithin judges that a cell which went on refuses its own controllers soon. They ask for one thing after another:
// what is judged is longer than it was by at most what one answer takes. most is 0 for any time. [Zombie] judges that it
// was frozen at all, and stays so; a cell that had to start has nothing to judge.
func FrozenWithin(g Gap, most time.Duration) []string {
	if most == 0 || g.Back == 0 || g.Frozen == history.Never || time.Duration(g.Frozen-g.Back) <= most {
		return nil
	}
	return []string{fmt.Sprintf("%s was frozen %s after it went on; at most %s is wanted", g.Cell, g.until(g.Back), most)}
}

package rebalance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// row is one cell of the run.
type row struct {
	cell              string
	out, in, inFlight int64
	p99               string
	apiserver         string
}

// cells is a table of at most height lines, header included.
func cells(m Model, height int) []string {
	rows := rowsOf(m)
	if len(rows) == 0 {
		return nil
	}
	width := len("CELL")
	for _, r := range rows {
		width = max(width, ansi.StringWidth(r.cell))
	}
	width = min(width, m.Width/3)
	out := []string{fmt.Sprintf("%s %8s %8s %9s   %-16s  %s", fit("CELL", width), "OUT", "IN", "INFLIGHT", "WRITE-BLOCK p99", "APISERVER")}
	shown := len(rows)
	if shown > height-1 {
		shown = max(0, height-2)
	}
	for _, r := range rows[:shown] {
		out = append(out, fmt.Sprintf("%s %8s %8s %9s   %-16s  %s", fit(r.cell, width), dash(r.out), dash(r.in), dash(r.inFlight), r.p99, r.apiserver))
	}
	if left := len(rows) - shown; left > 0 {
		out = append(out, fmt.Sprintf("… %d more cells", left))
	}
	return out
}

func dash(n int64) string {
	if n == 0 {
		return "-"
	}
	return printers.Count(n)
}

func rowsOf(m Model) []row {
	rows := map[string]*row{}
	of := func(cell string) *row {
		if rows[cell] == nil {
			rows[cell] = &row{cell: cell, p99: "-", apiserver: "-"}
		}
		return rows[cell]
	}
	for _, p := range m.progress.Pairs {
		from, to := of(p.From), of(p.To)
		from.out += p.Moved
		to.in += p.Moved
		from.inFlight += p.InFlight
		to.inFlight += p.InFlight
	}
	for _, c := range m.progress.Cells {
		r := of(c.Cell)
		if c.WriteBlock != nil {
			r.p99 = seconds(c.WriteBlock.P99.Duration)
		}
		switch {
		case c.Failing != "":
			r.apiserver = "! " + c.Failing
		case c.Latency != nil:
			r.apiserver = fmt.Sprintf("%s %dms", spark(m.latencies[c.Cell]), max(1, c.Latency.Milliseconds()))
		}
	}
	out := make([]row, 0, len(rows))
	for _, cell := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, *rows[cell])
	}
	return out
}

// spark draws latencies on a scale that doubles: up to 10 ms, 20 ms, 40 ms … 640 ms, and more.
func spark(latencies []time.Duration) string {
	var b strings.Builder
	for range keptLatencies - len(latencies) {
		b.WriteByte(' ')
	}
	for _, l := range latencies {
		level, limit := 0, 10*time.Millisecond
		for level < 7 && l > limit {
			level++
			limit *= 2
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[level])
	}
	return b.String()
}

// failures are at most height lines about the failed units around the one that is selected.
func failures(m Model, width, height int) []string {
	if len(m.failures) == 0 {
		return nil
	}
	first := max(0, min(m.selected-height/2, len(m.failures)-height))
	last := min(len(m.failures), first+height)
	var out []string
	for i, f := range m.failures[first:last] {
		mark, hint := "FAILED ", ""
		if f.Unit.Retrying {
			mark = "RETRY  "
		}
		if first+i == m.selected {
			mark = strings.TrimRight(mark, " ") + ">"
			hint = fmt.Sprintf("  [enter] details %d/%d", m.selected+1, len(m.failures))
		}
		text := fmt.Sprintf("%-8s%s  %s: %s", mark, f.Unit.Key, f.Unit.Step, f.Message)
		out = append(out, fit(text, width-ansi.StringWidth(hint))+hint)
	}
	return out
}

// details is everything about the selected failure.
func details(m Model, width int) []string {
	if m.selected >= len(m.failures) {
		return []string{"", "It does not fail any more."}
	}
	f := m.failures[m.selected]
	verdict := "counts as failed; it is tried again all the same"
	if f.Unit.Retrying {
		verdict = "may pass by itself; it is tried again"
	}
	out := []string{
		"",
		"UNIT      " + f.Unit.Key,
		"MOVES     " + f.Unit.From + " → " + f.Unit.To,
		"STEP      " + f.Unit.Step,
		fmt.Sprintf("ATTEMPTS  %d, the last at %s", f.Unit.Attempts, f.Time.Format(time.TimeOnly)),
		"VERDICT   " + verdict,
		"",
	}
	return append(out, strings.Split(ansi.Wrap(printable(f.Message), width, ""), "\n")...)
}

func help(m Model) []string {
	leave := "leave the screen; the backup daemon goes on with the run"
	switch {
	case m.Self == "":
		leave = "leave the screen; the run goes on"
	case !m.Successor:
		leave = "leave the screen; no backup daemon runs, so that nobody goes on with the run"
	}
	return []string{
		"",
		"p        let units in flight finish and begin no others; again: go on",
		"s        move one window, then pause",
		"+  -     a larger or smaller window: how many units may move at once",
		"r        of a paused run: go on, and try again what failed",
		"a        abort: walk back, so that the current ring stays; asks first",
		"d        " + leave,
		"q        leave: asks how; so does Ctrl-C",
		"↑  ↓     choose a failure; enter shows all of it",
		"",
		"OUT, IN and INFLIGHT count units. WRITE-BLOCK is how long a unit refuses writes",
		"while it moves. APISERVER is the 99th percentile of the run's own writes.",
	}
}

// question is a text with the overview below it.
func question(text []string, m Model, width, height int) []string {
	out := append([]string{""}, text...)
	out = append(out, "")
	return append(out, overview(m, width, height-len(out))...)
}

func quitText(m Model) []string {
	switch {
	case m.Self == "":
		return []string{
			"Leave the screen?",
			"  d  detach: " + m.driver + " goes on",
			"  p  pause the run, then leave",
			"  s  stay",
		}
	case m.Successor:
		return []string{
			"Leave the screen? This process drives the run.",
			"  d  detach: units in flight finish, then the backup daemon goes on",
			"  p  pause the run when the units in flight have finished, then leave",
			"  s  stay",
		}
	}
	return []string{
		"Leave the screen? This process drives the run, and no backup daemon runs.",
		"  d  detach: units in flight finish; nobody goes on before the next rebalance",
		"  p  pause the run when the units in flight have finished, then leave",
		"  s  stay",
	}
}

func abortText(m Model) []string {
	return []string{
		"Abort the run? It cannot be taken back.",
		fmt.Sprintf("  %s units that have moved walk back; the wanted ring stays as it is.", printers.Count(m.progress.Moved)),
		"  y  abort",
	}
}

// compact is for small terminals: no frame, one line for each thing.
func compact(m Model) string {
	p := m.progress
	out := []string{
		fmt.Sprintf("%s  %s  %s", m.Run, right(m), state(m)),
		fmt.Sprintf("%s %s/%s failed %s window %d/%d", gauge(p.Moved, p.Total, max(1, min(20, m.Width/4))),
			printers.Count(p.Moved), printers.Count(p.Total), printers.Count(p.Failed), m.window.Now, m.window.Wanted),
	}
	out = append(out, troubles(m)...)
	room := m.Height - len(out) - 1
	switch m.mode {
	case helping:
		out = append(out, clip(help(m)[1:], room)...)
	case detailing:
		out = append(out, clip(details(m, m.Width)[1:], room)...)
	case quitting:
		out = append(out, clip(quitText(m), room)...)
	case aborting:
		out = append(out, clip(abortText(m), room)...)
	case watching:
		out = append(out, compactOverview(m, room)...)
	}
	out = append(clip(out, m.Height-1), keys(m))
	for i, line := range out {
		out[i] = strings.TrimRight(ansi.Truncate(printable(line), m.Width, "…"), " ")
	}
	return strings.Join(clip(out, m.Height), "\n")
}

func compactOverview(m Model, room int) []string {
	out := failures(m, m.Width, 1)
	if m.notice != "" {
		out = append(out, "» "+m.notice)
	}
	if room <= len(out) {
		return clip(out, room)
	}
	return append(out, m.lines[max(0, len(m.lines)-(room-len(out))):]...)
}

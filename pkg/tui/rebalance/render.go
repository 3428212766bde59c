package rebalance

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

const (
	// The size of a terminal that does not say how large it is.
	defaultWidth  = 80
	defaultHeight = 24
	// Below this size the compact view is drawn.
	leastWidth  = 80
	leastHeight = 20
	// margin is what the frame takes of a line: two bars with a space each.
	margin = 4
)

// Render draws the model in plain characters. No line is wider than the terminal, and there are no more
// lines than it has.
func Render(m Model) string {
	if m.Width <= 0 || m.Height <= 0 {
		m.Width, m.Height = defaultWidth, defaultHeight
	}
	if m.Width < leastWidth || m.Height < leastHeight {
		return compact(m)
	}
	inner, height := m.Width-margin, m.Height-2
	body := []string{bar(m, inner), state(m)}
	body = append(body, troubles(m)...)
	body = append(body, lower(m, inner, height-len(body))...)
	out := []string{edge("┌", "┐", title(m), right(m), m.Width)}
	for i := range height {
		line := ""
		if i < len(body) {
			line = body[i]
		}
		out = append(out, "│ "+fit(line, inner)+" │")
	}
	out = append(out, edge("└", "┘", keys(m), "", m.Width))
	return strings.Join(out, "\n")
}

// lower is the part that depends on the mode, of at most height lines.
func lower(m Model, width, height int) []string {
	switch m.mode {
	case helping:
		return clip(help(m), height)
	case detailing:
		return clip(details(m, width), height)
	case quitting:
		return clip(question(quitText(m), m, width, height), height)
	case aborting:
		return clip(question(abortText(m), m, width, height), height)
	case watching:
	}
	return overview(m, width, height)
}

// overview is cells, failures and the newest lines, the last of which has the last line of the screen.
func overview(m Model, width, height int) []string {
	failed := failures(m, width, max(1, height/6))
	const leastLines = 3
	out := cells(m, max(2, height-len(failed)-leastLines))
	out = append(out, failed...)
	room := height - len(out)
	if m.notice != "" {
		room--
	}
	lines := m.lines[max(0, len(m.lines)-max(0, room)):]
	for range room - len(lines) {
		out = append(out, "")
	}
	out = append(out, lines...)
	if m.notice != "" {
		out = append(out, "» "+m.notice)
	}
	return clip(out, height)
}

func clip(lines []string, height int) []string { return lines[:max(0, min(len(lines), height))] }

// edge is a line of the frame with text at its left and right end.
func edge(begin, end, left, right string, width int) string {
	if right != "" {
		right = " " + right + " "
	}
	room := width - 2 - ansi.StringWidth(right) - 2
	left = " " + ansi.Truncate(left, max(0, room), "…") + " "
	return begin + left + strings.Repeat("─", max(0, width-2-ansi.StringWidth(left)-ansi.StringWidth(right))) + right + end
}

// fit makes text exactly so wide.
func fit(text string, width int) string {
	text = ansi.Truncate(printable(text), width, "…")
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// printable has no control characters, which a name or an error of a server may have.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

func title(m Model) string {
	driver := "driver " + m.driver
	switch m.driver {
	case "":
		driver = "no driver"
	case m.Self:
		driver += " (this process)"
	}
	return "rebalance " + m.Run + "   " + driver
}

func right(m Model) string {
	text := strconv.Itoa(percent(m)) + "%"
	if eta := m.progress.Completion; eta != nil && eta.After(m.Now) {
		text += "  ETA " + eta.Sub(m.Now).Round(time.Second).String()
	}
	return text
}

// percent is 100 only when all units have moved.
func percent(m Model) int {
	switch p := m.progress; {
	case p.Total > 0:
		return int(p.Moved * 100 / p.Total)
	case m.phase == v1alpha1.RebalanceSettling || m.phase.Final():
		return 100
	}
	return 0
}

// bar is the progress with its numbers behind.
func bar(m Model, width int) string {
	p := m.progress
	numbers := fmt.Sprintf("  %s / %s    failed %s    window %d/%d", printers.Count(p.Moved), printers.Count(p.Total), printers.Count(p.Failed), m.window.Now, m.window.Wanted)
	room := max(10, width-ansi.StringWidth(numbers))
	return gauge(p.Moved, p.Total, room) + numbers
}

// gauge is a bar of so many columns, drawn to an eighth of one.
func gauge(part, whole int64, width int) string {
	eighths := 0
	if whole > 0 {
		eighths = int(part * int64(width) * 8 / whole)
	}
	eighths = min(max(0, eighths), width*8)
	full, rest := eighths/8, eighths%8
	out := strings.Repeat("█", full)
	if rest > 0 {
		out += string([]rune("▏▎▍▌▋▊▉")[rest-1])
		full++
	}
	return out + strings.Repeat("░", width-full)
}

// state is what the run does, and how fast.
func state(m Model) string {
	phase := m.phase
	if phase == "" {
		phase = v1alpha1.RebalancePending
	}
	parts := []string{string(phase)}
	if m.leaving {
		parts[0] += ", leaving: units in flight finish"
	}
	if p := m.progress; p.InFlight > 0 || p.UnitsPerMinute > 0 {
		parts = append(parts, fmt.Sprintf("%s in flight", printers.Count(p.InFlight)), fmt.Sprintf("%s/min", printers.Count(p.UnitsPerMinute)))
	}
	if b := m.progress.WriteBlock; b != nil {
		parts = append(parts, fmt.Sprintf("write-block p50 %s  p99 %s  max %s", seconds(b.P50.Duration), seconds(b.P99.Duration), seconds(b.Max.Duration)))
	}
	return strings.Join(parts, "  ")
}

// troubles are why the run does not go on, or not as fast as it should.
func troubles(m Model) []string {
	var out []string
	for _, text := range []string{m.stopped, m.limited, m.blocked, m.cells} {
		if text != "" {
			out = append(out, "! "+text)
		}
	}
	if m.why != "" {
		out = append(out, fmt.Sprintf("! window → %d: %s", m.window.Now, m.why))
	}
	if m.driver == "" && m.phase != "" && !m.phase.Final() {
		out = append(out, "! nobody drives the run")
	}
	return out
}

func keys(m Model) string {
	switch m.mode {
	case helping, detailing:
		return "esc back"
	case quitting:
		return "d detach · p pause · s stay"
	case aborting:
		return "y abort · any other key: go on"
	case watching:
	}
	pause := "p pause"
	if m.pausing() {
		pause = "p resume"
	}
	return pause + " · s step · +/- window · r retry · a abort · d detach · ? help"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

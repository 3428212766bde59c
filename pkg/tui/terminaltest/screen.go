package terminaltest

import (
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// blank is a cell of the screen that nothing was written to. wide is the right half of a wide character.
const (
	blank = ' '
	wide  = rune(0)
)

// display is what a terminal shows: as much of a VT100 as programs use that know no more of it.
type display struct {
	mu     sync.Mutex
	cond   *sync.Cond
	parser *ansi.Parser
	// The rest is guarded by mu.
	cells    [][]rune
	row, col int
	// top and bottom are the first and the last line of what scrolls.
	top, bottom int
	inserting   bool
	closed      bool
	// under is the screen below the alternate one, which programs draw on that leave no trace; nil while that is not shown.
	under [][]rune
	// back is where the cursor goes when the alternate screen is left.
	back struct{ row, col int }
	// watch sees each change of the text; may be nil.
	watch func(text string)
}

func newDisplay(width, height int) *display {
	d := &display{parser: ansi.NewParser()}
	d.cond = sync.NewCond(&d.mu)
	d.parser.SetHandler(ansi.Handler{Print: d.print, Execute: d.execute, HandleCsi: d.control, HandleEsc: d.escape})
	d.size(width, height)
	return d
}

// size changes the size and keeps what still fits.
func (d *display) size(width, height int) {
	d.cells = fit(d.cells, width, height)
	if d.under != nil {
		d.under = fit(d.under, width, height)
	}
	d.top, d.bottom = 0, height-1
	d.move(d.row, d.col)
}

// fit returns a screen of that size with as much of the old one as there is room for.
func fit(old [][]rune, width, height int) [][]rune {
	cells := make([][]rune, height)
	for y := range cells {
		cells[y] = []rune(strings.Repeat(string(blank), width))
		if y < len(old) {
			copy(cells[y], old[y])
		}
	}
	return cells
}

func (d *display) resize(width, height int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size(width, height)
}

// Write shows what a program wrote.
func (d *display) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range p {
		d.parser.Advance(b)
	}
	if d.watch != nil {
		d.watch(d.text())
	}
	d.cond.Broadcast()
	return len(p), nil
}

func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.cond.Broadcast()
}

// text is the screen without the blanks at the ends of lines; d.mu is held.
func (d *display) text() string {
	lines := make([]string, len(d.cells))
	for y, cells := range d.cells {
		lines[y] = strings.TrimRight(strings.ReplaceAll(string(cells), string(wide), ""), " ")
	}
	return strings.Join(lines, "\n")
}

func (d *display) move(row, col int) {
	d.row = max(0, min(row, len(d.cells)-1))
	d.col = max(0, min(col, len(d.cells[0])))
}

func (d *display) print(r rune) {
	width := ansi.StringWidth(string(r))
	if d.col+width > len(d.cells[0]) {
		d.col = 0
		d.feed()
	}
	if d.inserting {
		d.shift(width)
	}
	d.cells[d.row][d.col] = r
	if width == 2 {
		d.cells[d.row][d.col+1] = wide
	}
	d.col += width
}

// settle puts the cursor back on the screen: behind the last column it only waits for the next character.
func (d *display) settle() { d.move(d.row, min(d.col, len(d.cells[0])-1)) }

// escape knows the reverse index, which goes a line up.
func (d *display) escape(cmd ansi.Cmd) {
	d.settle()
	if cmd.Final() != 'M' {
		return
	}
	if d.row == d.top {
		d.scroll(d.top, -1)
		return
	}
	d.move(d.row-1, d.col)
}

func (d *display) execute(b byte) {
	d.settle()
	switch b {
	case '\r':
		d.col = 0
	case '\n':
		d.feed()
	case '\b':
		d.move(d.row, d.col-1)
	case '\t':
		d.move(d.row, d.col/8*8+8)
	}
}

// feed goes a line down, and scrolls at the last one.
func (d *display) feed() {
	if d.row == d.bottom {
		d.scroll(d.top, 1)
		return
	}
	d.move(d.row+1, d.col)
}

// scroll moves the lines from one on up to the bottom, so many up, or down where negative.
func (d *display) scroll(from, by int) {
	moved := d.cells[from : d.bottom+1]
	by = max(-len(moved), min(by, len(moved)))
	lines := make([][]rune, len(moved))
	for y := range lines {
		if source := y + by; source >= 0 && source < len(moved) {
			lines[y] = moved[source]
		} else {
			lines[y] = []rune(strings.Repeat(string(blank), len(d.cells[0])))
		}
	}
	copy(moved, lines)
}

// shift moves the rest of the line to the right, or to the left where negative.
func (d *display) shift(by int) {
	rest := d.cells[d.row][d.col:]
	shifted := []rune(strings.Repeat(string(blank), len(rest)))
	for x := range shifted {
		if source := x - by; source >= 0 && source < len(rest) {
			shifted[x] = rest[source]
		}
	}
	copy(rest, shifted)
}

func (d *display) control(cmd ansi.Cmd, params ansi.Params) {
	if cmd.Prefix() == '?' && cmd.Intermediate() == 0 {
		d.alternate(cmd.Final(), params)
		return
	}
	if cmd.Prefix() != 0 || cmd.Intermediate() != 0 {
		return // other modes and questions
	}
	d.settle()
	n, _, _ := params.Param(0, 1)
	n = max(n, 1)
	second, _, _ := params.Param(1, 0)
	switch cmd.Final() {
	case 'A':
		d.move(d.row-n, d.col)
	case 'B':
		d.move(d.row+n, d.col)
	case 'C':
		d.move(d.row, d.col+n)
	case 'D':
		d.move(d.row, d.col-n)
	case 'G':
		d.move(d.row, n-1)
	case 'd':
		d.move(n-1, d.col)
	case 'H', 'f':
		d.move(n-1, max(second, 1)-1)
	case 'J':
		d.erase(params, true)
	case 'K':
		d.erase(params, false)
	default:
		d.edit(cmd.Final(), n, second)
	}
}

// alternateScreen is the mode of xterm in which a program has a screen of its own and leaves the other one as it was.
const alternateScreen = 1049

// alternate shows the alternate screen or leaves it; other modes are none of a display's business.
func (d *display) alternate(final byte, params ansi.Params) {
	if mode, _, _ := params.Param(0, 0); mode != alternateScreen {
		return
	}
	switch {
	case final == 'h' && d.under == nil:
		d.under, d.back.row, d.back.col = d.cells, d.row, d.col
		d.cells = fit(nil, len(d.under[0]), len(d.under))
		d.move(0, 0)
	case final == 'l' && d.under != nil:
		d.cells, d.under = d.under, nil
		d.top, d.bottom = 0, len(d.cells)-1
		d.move(d.back.row, d.back.col)
	}
}

// edit is what moves text about.
func (d *display) edit(final byte, n, second int) {
	switch final {
	case 'L':
		d.scroll(d.row, -n)
	case 'M':
		d.scroll(d.row, n)
	case 'S':
		d.scroll(d.top, n)
	case 'T':
		d.scroll(d.top, -n)
	case '@':
		d.shift(n)
	case 'P':
		d.shift(-n)
	case 'X':
		for x := d.col; x < min(d.col+n, len(d.cells[0])); x++ {
			d.cells[d.row][x] = blank
		}
	case 'r':
		if second == 0 {
			second = len(d.cells)
		}
		d.top, d.bottom = n-1, min(second, len(d.cells))-1
		d.move(0, 0)
	case 'h', 'l':
		if n == 4 {
			d.inserting = final == 'h'
		}
	}
}

// erase blanks from the cursor on, up to it, or everything, of the line or of the screen.
func (d *display) erase(params ansi.Params, screen bool) {
	mode, _, _ := params.Param(0, 0)
	for y := range d.cells {
		for x := range d.cells[y] {
			before := y < d.row || y == d.row && x <= d.col
			after := y > d.row || y == d.row && x >= d.col
			if (screen || y == d.row) && (mode == 0 && after || mode == 1 && before || mode >= 2) {
				d.cells[y][x] = blank
			}
		}
	}
}

package top_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubecell/kubectl-cell/pkg/tui/top"
)

func frame(rows int) top.Frame {
	f := top.Frame{
		At: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Title: "epoch 43  Stable  3 of 3 routers",
		Header: []string{"CELL", "STATE", "WEIGHT", "WORKLOADS"}, Spare: []string{"WEIGHT"}, Notes: []string{"rebalance r-42   Running   23 of 99 moved", "! cell 单元-2 is not fenced"},
	}
	for i := range rows {
		f.Rows = append(f.Rows, []string{fmt.Sprintf("cell-%d", i), "Ready", "100", fmt.Sprint(1000 + i)})
	}
	return f
}

// Whatever the size, the picture fits, and title, header and help are there.
func TestRenderFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {160, 50}, {40, 12}, {40, 10}, {30, 6}, {0, 0}} {
		for _, rows := range []int{0, 3, 64} {
			t.Run(fmt.Sprintf("%dx%d with %d", size[0], size[1], rows), func(t *testing.T) {
				m := top.Model{Width: size[0], Height: size[1], Every: 2 * time.Second}.Show(frame(rows))
				got := top.Render(m)
				lines := strings.Split(got, "\n")
				width, height := size[0], size[1]
				if width == 0 {
					width, height = 80, 24
				}
				if len(lines) != height {
					t.Errorf("%d lines:\n%s", len(lines), got)
				}
				for _, line := range lines {
					if ansi.StringWidth(line) > width {
						t.Errorf("line is %d columns wide: %q", ansi.StringWidth(line), line)
					}
				}
				if !strings.HasPrefix(got, "epoch 43") || !strings.HasPrefix(lines[1], "CELL ") || !strings.HasPrefix(lines[len(lines)-1], "every 2s · q quit") {
					t.Errorf("title, header or help is missing:\n%s", got)
				}
			})
		}
	}
}

func TestPicture(t *testing.T) {
	const want = `epoch 43  Stable  3 of 3 routers        12:00:00
CELL     STATE   WEIGHT   WORKLOADS
cell-1   Ready   100      1001
cell-2   Ready   100      1002
cell-3   Ready   100      1003
rebalance r-42   Running   23 of 99 moved
! cell 单元-2 is not fenced

every 2s · q quit · ↑↓ 1 rows more`
	m := top.Model{Width: 48, Height: 9, Every: 2 * time.Second}.Show(frame(4))
	m, _ = m.Press("down")
	if got := top.Render(m); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A narrow terminal has narrow gaps first, and then columns less.
func TestNarrow(t *testing.T) {
	for width, want := range map[int]string{
		40: "CELL     STATE   WEIGHT   WORKLOADS", 33: "CELL    STATE  WEIGHT  WORKLOADS",
		30: "CELL   STATE WEIGHT WORKLOADS", 22: "CELL   STATE WORKLOADS", 12: "CELL   STAT…",
	} {
		m := top.Model{Width: width, Height: 9}.Show(frame(4))
		if got := strings.Split(top.Render(m), "\n")[1]; got != want {
			t.Errorf("%d columns: %q; want %q", width, got, want)
		}
	}
}

// A name that is wider than the terminal is cut, and what is said of it can be seen.
func TestALongNameOnANarrowTerminal(t *testing.T) {
	f := frame(1)
	f.Rows = append(f.Rows, []string{strings.Repeat("a", 253), "Down", "100", "1001"}, []string{strings.Repeat("单元", 126), "Gone", "100", "1002"})
	const want = `CELL                     STATE WORKLOADS
cell-0                   Ready 1000
aaaaaaaaaaaaaaaaaaaaaaa… Down  1001
单元单元单元单元单元单…  Gone  1002`
	lines := strings.Split(top.Render(top.Model{Width: 40, Height: 12}.Show(f)), "\n")
	if got := strings.Join(lines[1:5], "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestKeys(t *testing.T) {
	m := top.Model{Width: 80, Height: 12}.Show(frame(20))
	first := func() string { return strings.Split(top.Render(m), "\n")[2] }
	for _, step := range []struct{ key, first string }{
		{"down", "cell-1 "}, {"up", "cell-0 "}, {"up", "cell-0 "}, {"pgdown", "cell-6 "}, {"pgdown", "cell-12 "},
		{"pgdown", "cell-14 "}, {"down", "cell-14 "}, {"pgup", "cell-8 "}, {"home", "cell-0 "}, {"x", "cell-0 "},
	} {
		m, _ = m.Press(step.key)
		if !strings.HasPrefix(first(), step.first) {
			t.Errorf("after %s the first row is %q, want %s", step.key, first(), step.first)
		}
	}
	for _, key := range []string{"q", "esc", "ctrl+c"} {
		if _, leave := m.Press(key); !leave {
			t.Errorf("%s does not leave", key)
		}
	}
}

// While no server answers the last picture stays, and says so.
func TestAnOldFrameStays(t *testing.T) {
	m := top.Model{Width: 80, Height: 24}.Show(frame(2)).Show(top.Frame{Err: "no answer within 3s"})
	got := top.Render(m)
	if !strings.Contains(got, "cell-1") || !strings.Contains(got, "OLD, of 12:00:00") || !strings.Contains(got, "! no answer within 3s") {
		t.Errorf("got\n%s", got)
	}
	if m = m.Show(frame(2)); strings.Contains(top.Render(m), "OLD") {
		t.Error("a new frame is called old")
	}
}

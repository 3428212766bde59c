package rebalance_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	screen "github.com/kubecell/kubectl-cell/pkg/tui/rebalance"
)

var update = flag.Bool("update", false, "write golden files")

func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 14, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func milliseconds(n int64) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n) * time.Millisecond}
}

func block(p50, p99, most int64) *v1alpha1.WriteBlock {
	return &v1alpha1.WriteBlock{P50: milliseconds(p50), P99: milliseconds(p99), Max: milliseconds(most)}
}

// progress is how far the run of the story is when so many of each pair have moved.
func progress(moved, latency int64, end time.Time) *rebalance.Progress {
	p := &rebalance.Progress{Failed: 2, UnitsPerMinute: 2410, Completion: &metav1.Time{Time: end}, WriteBlock: block(180, 410, 1220)}
	for i, from := range []string{"cell-1", "cell-2", "cell-3", "cell-zwölf"} {
		p.Pairs = append(p.Pairs, v1alpha1.PairProgress{From: from, To: "cell-6", Total: 4432, Moved: moved + int64(i), InFlight: int64(11 + i), Failed: 1})
		p.Cells = append(p.Cells, v1alpha1.RebalanceCell{Cell: from, WriteBlock: block(170, 410, 900), Latency: &metav1.Duration{Duration: 8 * time.Millisecond}})
		p.Total, p.Moved, p.InFlight = p.Total+4432, p.Moved+moved+int64(i), p.InFlight+int64(11+i)
	}
	l := milliseconds(latency)
	p.Cells = append(p.Cells, v1alpha1.RebalanceCell{Cell: "cell-6", WriteBlock: block(190, 620, 1220), Latency: &l})
	p.Cells[2].Failing = "Get \"https://10.0.0.3:6443/readyz\": connection refused"
	return p
}

func failed(seconds float64, key, step, message string, attempts int32, retrying bool) rebalance.Event {
	return rebalance.Event{Time: at(seconds), Type: rebalance.EventFailed, Message: message, Unit: &rebalance.UnitEvent{
		Key: key, From: "cell-1", To: "cell-6", Step: step, Attempts: attempts, Retrying: retrying,
	}}
}

func story() []rebalance.Event {
	end := at(463)
	out := []rebalance.Event{
		{Time: at(0), Type: rebalance.EventDriver, Driver: "you@bastion-3f2a9"},
		{Time: at(0), Type: rebalance.EventPhase, Phase: v1alpha1.RebalancePreparing},
		{Time: at(1), Type: rebalance.EventPhase, Phase: v1alpha1.RebalanceMoving},
		{Time: at(1), Type: rebalance.EventWindow, Window: &rebalance.WindowEvent{Now: 50, Wanted: 50}},
		{Time: at(2), Type: rebalance.EventProgress, Progress: progress(10, 9, end)},
	}
	for i := range 30 {
		out = append(out, rebalance.Event{Time: at(float64(100 + i)), Type: rebalance.EventMoved, Unit: &rebalance.UnitEvent{
			Key: fmt.Sprintf("search/index-%d", i), From: "cell-2", To: "cell-6", Blocked: 380 * time.Millisecond,
		}})
	}
	return append(out,
		failed(130, "ads/ranker", "copy", `configmaps "ranker" is forbidden: exceeded quota: small, requested: count/configmaps=1, used: count/configmaps=10, limited: count/configmaps=10`, 3, false),
		failed(130.5, "支払い/決済サービス", "mark", "\x1b[31mthe server is currently unable\nto handle the request", 1, true),
		rebalance.Event{Time: at(131), Type: rebalance.EventProgress, Progress: progress(800, 70, end)},
		rebalance.Event{Time: at(131), Type: rebalance.EventProgress, Progress: progress(1029, 310, end)},
		rebalance.Event{Time: at(131), Type: rebalance.EventWindow, Window: &rebalance.WindowEvent{Now: 32, Wanted: 50}, Message: "cell-6 answers in 310ms"},
		rebalance.Event{Time: at(131), Type: rebalance.EventBlocked, Message: "waiting for bastion-2-77aa01cd (epoch 42, window 7, last seen 41s ago)"},
	)
}

func model(events []rebalance.Event, width, height int) screen.Model {
	m := screen.Model{Run: "r-43", Self: "you@bastion-3f2a9", Successor: true, Width: width, Height: height}
	for _, e := range events {
		m = m.Apply(e)
	}
	return m.At(at(131))
}

// press gives the model several keys.
func press(m screen.Model, keys ...string) screen.Model {
	for _, key := range keys {
		m, _ = m.Press(key)
	}
	return m
}

func TestRender(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {160, 50}, {60, 15}, {40, 12}, {20, 5}} {
		for name, m := range map[string]screen.Model{
			"empty":   model(nil, size[0], size[1]),
			"moving":  model(story(), size[0], size[1]),
			"help":    press(model(story(), size[0], size[1]), "?"),
			"details": press(model(story(), size[0], size[1]), "up", "enter"),
			"quit":    press(model(story(), size[0], size[1]), "ctrl+c"),
			"abort":   press(model(story(), size[0], size[1]), "a"),
		} {
			t.Run(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), func(t *testing.T) {
				got := screen.Render(m)
				lines := strings.Split(got, "\n")
				if len(lines) > size[1] {
					t.Errorf("%d lines; want at most %d", len(lines), size[1])
				}
				for _, line := range lines {
					if w := ansi.StringWidth(line); w > size[0] || size[0] >= 80 && w != size[0] {
						t.Errorf("line is %d columns wide: %q", w, line)
					}
				}
				compare(t, filepath.Join("testdata", fmt.Sprintf("%s-%dx%d.golden", name, size[0], size[1])), got+"\n")
			})
		}
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
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
}

// longStory is about names as long as Kubernetes has them, and wide ones.
func longStory() []rebalance.Event {
	long, wide := strings.Repeat("a", 253), strings.Repeat("单元", 126)
	p := progress(10, 9, at(463))
	p.Pairs = append(p.Pairs, v1alpha1.PairProgress{From: long, To: wide, Total: 1, Moved: 1})
	return append(story(),
		rebalance.Event{Time: at(132), Type: rebalance.EventProgress, Progress: p},
		failed(133, long+"/"+long, "copy", wide, 1, false), failed(133, wide, "copy", long, 1, false),
		rebalance.Event{Time: at(134), Type: rebalance.EventDriver, Driver: wide},
		rebalance.Event{Time: at(134), Type: rebalance.EventBlocked, Message: "waiting for " + long},
	)
}

// No size makes the picture larger than the terminal, or drawing it fail, or cuts a character.
func TestRenderFitsEverySize(t *testing.T) {
	for _, events := range [][]rebalance.Event{story(), longStory()} {
		for width := 1; width < 130; width += 3 {
			for height := 1; height < 40; height += 2 {
				for _, keys := range [][]string{nil, {"?"}, {"enter"}, {"q"}, {"a"}, {"r"}} {
					fits(t, press(model(events, width, height), keys...), fmt.Sprintf("%dx%d %v", width, height, keys))
				}
			}
		}
	}
}

func fits(t *testing.T, m screen.Model, what string) {
	t.Helper()
	got := screen.Render(m)
	lines := strings.Split(got, "\n")
	if len(lines) > m.Height {
		t.Fatalf("%s: %d lines", what, len(lines))
	}
	if !utf8.ValidString(got) || strings.ContainsRune(got, utf8.RuneError) {
		t.Fatalf("%s: a character is cut:\n%s", what, got)
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > m.Width {
			t.Fatalf("%s: line of %d columns: %q", what, w, line)
		}
	}
}

func TestKeys(t *testing.T) {
	paused := append(story(), rebalance.Event{Time: at(131), Type: rebalance.EventPhase, Phase: v1alpha1.RebalancePaused})
	for name, test := range map[string]struct {
		events []rebalance.Event
		change func(*screen.Model)
		keys   string
		want   screen.Wish
	}{
		"pause":                        {story(), nil, "p", screen.Wish{Kind: screen.Pause}},
		"resume":                       {paused, nil, "p", screen.Wish{Kind: screen.Resume}},
		"step":                         {story(), nil, "s", screen.Wish{Kind: screen.Step}},
		"larger window":                {story(), nil, "+", screen.Wish{Kind: screen.Window, Window: 100}},
		"smaller window":               {story(), nil, "-", screen.Wish{Kind: screen.Window, Window: 20}},
		"no window is known":           {nil, nil, "+", screen.Wish{}},
		"retry while it runs":          {story(), nil, "r", screen.Wish{}},
		"retry while it is paused":     {paused, nil, "r", screen.Wish{Kind: screen.Retry}},
		"abort is asked":               {story(), nil, "a", screen.Wish{}},
		"abort":                        {story(), nil, "a y", screen.Wish{Kind: screen.Abort}},
		"abort declined":               {story(), nil, "a enter", screen.Wish{}},
		"ctrl-c at the abort is asked": {story(), nil, "a ctrl+c", screen.Wish{}},
		"ctrl-c at the abort, then y":  {story(), nil, "a ctrl+c y", screen.Wish{}}, // it is no answer to the other question
		"ctrl-c at the abort, detach":  {story(), nil, "a ctrl+c d", screen.Wish{Kind: screen.Detach}},
		"detach":                       {story(), nil, "d", screen.Wish{Kind: screen.Detach}},
		"detach from nobody is asked":  {story(), func(m *screen.Model) { m.Successor = false }, "d", screen.Wish{}},
		"detach a viewer":              {story(), func(m *screen.Model) { m.Successor, m.Self = false, "" }, "d", screen.Wish{Kind: screen.Detach}},
		"ctrl-c is asked":              {story(), nil, "ctrl+c", screen.Wish{}},
		"ctrl-c in the help":           {story(), nil, "? ctrl+c d", screen.Wish{Kind: screen.Detach}},
		"quit and pause":               {story(), nil, "q p", screen.Wish{Kind: screen.PauseAndLeave}},
		"quit and stay":                {story(), nil, "q s", screen.Wish{}},
		"keys after leaving":           {story(), nil, "d p", screen.Wish{}},
		"pause in the help":            {story(), nil, "? p", screen.Wish{Kind: screen.Pause}},
		"an unknown key":               {story(), nil, "F5", screen.Wish{}},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(test.events, 80, 24)
			if test.change != nil {
				test.change(&m)
			}
			var got screen.Wish
			for key := range strings.FieldsSeq(test.keys) {
				m, got = m.Press(key)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The window has an upper and a lower end.
func TestTheWindowEnds(t *testing.T) {
	for _, test := range []struct {
		wanted int32
		key    string
		want   int32
	}{{1, "-", 0}, {10000, "+", 0}, {10000, "-", 5000}, {1, "+", 2}, {7, "+", 10}, {7, "-", 5}} {
		m := model([]rebalance.Event{{Type: rebalance.EventWindow, Window: &rebalance.WindowEvent{Now: 1, Wanted: test.wanted}}}, 80, 24)
		if _, wish := m.Press(test.key); wish.Window != test.want {
			t.Errorf("%d %s: %d; want %d", test.wanted, test.key, wish.Window, test.want)
		}
	}
}

// A refused wish is told, and one who wanted to leave has not left.
func TestAnAnswerIsShown(t *testing.T) {
	m, wish := model(story(), 80, 24).Press("d")
	m = m.Answer(wish, errors.New("no route to host"))
	if got := screen.Render(m); !strings.Contains(got, "» cannot detach: no route to host") {
		t.Errorf("the failure is not on the screen:\n%s", got)
	}
	if _, wish = m.Press("p"); wish.Kind != screen.Pause {
		t.Errorf("p after that asks for %q", wish.Kind)
	}
}

// A model is a value: one that was kept is not changed by what happens later.
func TestApplyIsPure(t *testing.T) {
	events := story()
	kept := model(events[:36], 80, 24)
	before := screen.Render(kept)
	later := kept
	for range 3 {
		for _, e := range events {
			later = later.Apply(e)
		}
	}
	press(later, "down", "enter", "q", "p")
	if diff := cmp.Diff(before, screen.Render(kept)); diff != "" {
		t.Errorf("a later event changed the model:\n%s", diff)
	}
}

// A unit that has moved does not fail any more; nor does any when the counts say so.
func TestFailuresEnd(t *testing.T) {
	m := model(story(), 80, 24)
	m = m.Apply(rebalance.Event{Time: at(140), Type: rebalance.EventMoved, Unit: &rebalance.UnitEvent{Key: "ads/ranker", From: "cell-1", To: "cell-6"}})
	if got := screen.Render(m); strings.Contains(got, "FAILED") || !strings.Contains(got, "RETRY") {
		t.Errorf("after one has moved:\n%s", got)
	}
	m = m.Apply(rebalance.Event{Time: at(141), Type: rebalance.EventProgress, Progress: &rebalance.Progress{Total: 5, Moved: 4}})
	if got := screen.Render(m); strings.Contains(got, "RETRY") {
		t.Errorf("after all have moved:\n%s", got)
	}
}

// A clock that is put back does not stop that of the screen: the time that is left is counted from what it is now.
func TestScreenFollowsAClockThatIsPutBack(t *testing.T) {
	end := at(-3000)
	m := model(nil, 80, 24).Apply(rebalance.Event{Time: at(-3600), Type: rebalance.EventProgress, Progress: progress(10, 9, end)})
	if text := screen.Render(m.At(at(130))); strings.Contains(text, "ETA") {
		t.Errorf("a second behind an event is no clock that was put back:\n%s", text)
	}
	if text := screen.Render(m.At(at(-3600))); !strings.Contains(text, "ETA 10m0s") {
		t.Errorf("after the clock was put back by an hour the screen says:\n%s", text)
	}
}

//go:build linux

package newcomer

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/tui/terminaltest"
)

const (
	// shortest and longest are how long a picture is shown, whatever the time that it was there.
	shortest = 250 * time.Millisecond
	longest  = 1500 * time.Millisecond
	// A character of a recording, in pixels.
	charWidth, charHeight = 8, 17
	margin                = 12
)

// picture is a screen, and since when it was there.
type picture struct {
	since time.Time
	text  string
}

// recorder keeps what a terminal shows.
type recorder struct {
	mu       sync.Mutex
	pictures []picture // guarded by mu
	// screens are the last ones of each command.
	screens []string
	// root is the folder of the clone, which a recording calls what README calls it.
	root string
}

func newRecorder(terminal *terminaltest.Terminal, root string) *recorder {
	r := &recorder{root: root}
	terminal.Watch(r.see)
	return r
}

// see keeps a screen; those that were there for a moment only are replaced.
func (r *recorder) see(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	text = strings.ReplaceAll(text, r.root, "~/kubectl-cell")
	if n := len(r.pictures); n > 0 && now.Sub(r.pictures[n-1].since) < shortest {
		r.pictures[n-1].text = text
		return
	}
	r.pictures = append(r.pictures, picture{since: now, text: text})
}

// add keeps the last screen of a command, which may have scrolled the command itself away.
func (r *recorder) add(line, screen string) {
	screen = strings.ReplaceAll(strings.TrimRight(screen, "\n"), r.root, "~/kubectl-cell")
	if !strings.HasPrefix(screen, prompt+" ") {
		screen = prompt + " " + line + "\n…\n" + screen
	}
	r.screens = append(r.screens, screen)
}

func (r *recorder) write(t *testing.T, dir string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, content := range map[string][]byte{"recording.svg": film(r.pictures), "first-five-minutes.md": r.page()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// page is the last screen of each command, and the fullest one of the rebalance.
func (r *recorder) page() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `# The first five minutes

What the commands of the [README](../README.md) print, one after the other, on a terminal. Recorded by `+"`make recording`"+` from the
real thing; `+"`make newcomer`"+` plays the same and checks it.

`)
	shown := false
	for _, screen := range r.screens {
		if running := r.rebalancing(); running != "" && !shown && strings.HasPrefix(screen, "$ kubectl cell rebalance") {
			shown = true
			fmt.Fprintf(&b, "While the next one runs, the screen is\n\n```text\n%s\n```\n\n", running)
		}
		fmt.Fprintf(&b, "```console\n%s\n```\n\n", screen)
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// rebalancing is a screen in the middle of the first rebalance, "" where none was seen.
func (r *recorder) rebalancing() string {
	var seen, last []string
	for _, p := range r.pictures {
		if strings.HasPrefix(p.text, "┌ rebalance r-2 ") && strings.Contains(p.text, " migrated ") {
			last = []string{strings.TrimRight(p.text, "\n")}
			if !strings.Contains(p.text, "100%") {
				seen = append(seen, last...)
			}
		}
	}
	if seen = append(seen, last...); len(seen) == 0 {
		return ""
	}
	return seen[len(seen)/2]
}

// film is an SVG that shows one picture after the other, again and again: they hang side by side on a strip that is
// pulled along. Each different line of text is in it once.
func film(pictures []picture) []byte {
	pictures = slices.CompactFunc(slices.Clone(pictures), func(a, b picture) bool { return a.text == b.text })
	var columns, rows int
	for _, p := range pictures {
		lines := strings.Split(p.text, "\n")
		rows = max(rows, len(lines))
		for _, line := range lines {
			columns = max(columns, len([]rune(line)))
		}
	}
	width, height := columns*charWidth+2*margin, rows*charHeight+2*margin
	total := time.Duration(0)
	for i := range pictures {
		total += lasts(pictures, i)
	}
	var definitions, strip, frames bytes.Buffer
	known := map[string]int{}
	at := time.Duration(0)
	for i, p := range pictures {
		fmt.Fprintf(&frames, "%.3f%%{transform:translateX(-%dpx)}\n", 100*float64(at)/float64(total), i*width)
		at += lasts(pictures, i)
		for y, line := range strings.Split(p.text, "\n") {
			if line == "" {
				continue
			}
			if _, there := known[line]; !there {
				known[line] = len(known)
				fmt.Fprintf(&definitions, "<text id=\"l%d\">%s</text>\n", known[line], html.EscapeString(line))
			}
			fmt.Fprintf(&strip, "<use href=\"#l%d\" x=\"%d\" y=\"%d\"/>\n", known[line], i*width+margin, margin+(y+1)*charHeight-4)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<title>kubectl cell, recorded</title>
<style>
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dae0;white-space:pre}
.strip{animation:film %.1fs step-end infinite}
@keyframes film{
%s}
</style>
<defs>
%s</defs>
<rect width="100%%" height="100%%" rx="6" fill="#1b1f27"/>
<g class="strip">
%s</g>
</svg>
`, width, height, width, height, total.Seconds(), &frames, &definitions, &strip)
	return b.Bytes()
}

// lasts is how long a picture is shown: as long as it was there, but neither a moment nor a wait.
func lasts(pictures []picture, i int) time.Duration {
	if i == len(pictures)-1 {
		return longest
	}
	return min(max(pictures[i+1].since.Sub(pictures[i].since), shortest), longest)
}

//go:build linux

package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
	"github.com/kubecell/kubectl-cell/pkg/tui/terminaltest"
)

const ctrlC = "\x03"

// person is somebody at a terminal with a shell in it, which shows what a program leaves of the terminal.
type person struct {
	b       *bed
	environ []string
}

func newPerson(t *testing.T, b *bed) *person {
	t.Helper()
	_, binary, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "kubectl-cell")); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, b.kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	t.Cleanup(func() { endDaemons(state) })
	return &person{b, []string{
		"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "KUBECTL_CELL_HOME=" + state, "KUBECONFIG=" + kubeconfig, "LC_ALL=C.UTF-8",
	}}
}

// types runs a command in a shell that waits for its end, then says its exit code and how the terminal is.
func (p *person) types(t *testing.T, width, height int, line string) *terminaltest.Terminal {
	t.Helper()
	script := `trap : INT; echo before; ` + line + `; echo "code $?"; stty -a | tr ' ;' '\n\n' | grep -xE -- '-?(icanon|echo|isig|icrnl|opost)' | sort | tr '\n' ' '; echo end; read -r word; echo "read $word"`
	return terminaltest.Start(t, width, height, p.environ, "sh", "-c", script)
}

// wantLeft wants a program to have ended with a code, and the terminal to be as it was: the line before is on it, and
// what is typed arrives.
func wantLeft(t *testing.T, screen *terminaltest.Terminal, code string) string {
	t.Helper()
	screen.AwaitText("code " + code + "\n")
	text := screen.AwaitText("end\n")
	for _, mode := range []string{"echo", "icanon", "icrnl", "isig", "opost"} {
		if !strings.Contains(text, mode+" ") || strings.Contains(text, "-"+mode+" ") {
			t.Errorf("the terminal is without %s:\n%s", mode, text)
		}
	}
	screen.Press("again\r")
	screen.AwaitText("read again")
	return text
}

// must runs kubectl cell without a terminal.
func (p *person) must(t *testing.T, args ...string) {
	t.Helper()
	_, binary, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), p.environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl cell %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestCommandsOnATerminal starts what goes on until somebody leaves it, has it show something real, changes the size of
// the terminal and leaves.
func TestCommandsOnATerminal(t *testing.T) {
	b := newBed(t)
	p := newPerson(t, b)
	t.Run("top", func(t *testing.T) { p.top(t) })
	t.Run("top on a dumb terminal", func(t *testing.T) {
		screen := p.types(t, 120, 24, "TERM=dumb kubectl-cell top")
		wantLeft(t, screen, "0")
		screen.AwaitText("epoch 1  Stable", "cell-3")
	})
	t.Run("top in a locale of ASCII", func(t *testing.T) {
		screen := p.types(t, 80, 24, "LC_ALL=C kubectl-cell top --every 500ms")
		if text := screen.AwaitText("epoch 1  Stable", "cell-3", "every 500ms - q quit"); !isASCII(text) {
			t.Errorf("there are symbols on the screen:\n%s", text)
		}
		screen.Press("q")
		wantLeft(t, screen, "0")
	})
	t.Run("events", func(t *testing.T) { p.events(t) })
	t.Run("logs", func(t *testing.T) { p.logs(t) })
}

func (p *person) top(t *testing.T) {
	for _, leave := range []string{"q", ctrlC} {
		screen := p.types(t, 80, 24, "kubectl-cell top --every 500ms")
		screen.AwaitText("epoch 1  Stable", "CELL", "cell-1", "cell-3", "! no backup daemon runs", "q quit")
		screen.Resize(40, 12)
		narrow := screen.Await("the screen at 40x12", func(text string) bool {
			return strings.HasPrefix(text, "epoch 1") && strings.HasPrefix(strings.Split(text, "\n")[11], "every 500ms")
		})
		for _, word := range []string{"CELL", "STATE", "cell-3", "Ready"} {
			if !strings.Contains(narrow, word) {
				t.Errorf("at 40 columns there is no %s:\n%s", word, narrow)
			}
		}
		screen.Resize(80, 24)
		screen.AwaitText("q quit", "APISERVER")
		screen.Press(leave)
		if text := wantLeft(t, screen, "0"); !strings.HasPrefix(text, "before\n") {
			t.Errorf("the screen is not as it was:\n%s", text)
		}
	}
}

// TestTablesOnANarrowTerminal wants what is a table elsewhere to be readable at 40 columns, and what is piped to be a table.
func TestTablesOnANarrowTerminal(t *testing.T) {
	p := newPerson(t, newBed(t))
	const (
		table  = "CELL    STATE  WEIGHT"
		record = "CELL:       cell-3\nSTATE:      Ready\nWEIGHT:     100\nWORKLOADS:  "
		folded = "\nrebalance   moves units until the data\n            is where the wanted ring\n            says\n"
	)
	for _, test := range []struct {
		width                int
		command, shows, code string
	}{
		{80, "get cells", table, "0"},
		{40, "get cells", record, "0"},
		{40, "get cells | cat", table, "0"},
		{40, "get cells --no-headers", "\ncell-3  Ready  100", "0"},
		{40, "status", record, "0"},
		{40, "top --tui=never", record, "0"},
		{40, "explain", folded, "0"},
	} {
		t.Run(fmt.Sprint(test.command, " at ", test.width), func(t *testing.T) {
			screen := p.types(t, test.width, 60, "kubectl-cell "+test.command)
			screen.AwaitText(test.shows)
			text := wantLeft(t, screen, test.code)
			if both := strings.Contains(text, "CELL: ") && strings.Contains(text, "CELL  "); both {
				t.Errorf("a table and records:\n%s", text)
			}
		})
	}
	t.Run("get cells -w", func(t *testing.T) {
		screen := p.types(t, 40, 60, "kubectl-cell get cells -w")
		screen.AwaitText(record)
		screen.Press(ctrlC)
		wantLeft(t, screen, "130")
	})
}

func (p *person) events(t *testing.T) {
	p.event(t, "first")
	screen := p.types(t, 60, 24, "kubectl-cell events -w -n events-terminal")
	screen.AwaitText("cell-1", "first", "so it is")
	p.event(t, "second")
	screen.AwaitText("second")
	screen.Resize(100, 30)
	p.event(t, "third")
	screen.AwaitText("third")
	screen.Press(ctrlC)
	wantLeft(t, screen, "130")
}

// event makes an event in cell-1, and its namespace where that is missing.
func (p *person) event(t *testing.T, reason string) {
	t.Helper()
	const namespace = "events-terminal"
	ctx := context.Background()
	cell := p.b.planes["cell-1"]
	_, _ = cell.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	}}, metav1.CreateOptions{}) // there it is, or the event says why not
	now := metav1.Now().UTC().Format("2006-01-02T15:04:05Z")
	_, err := cell.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(namespace).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": reason},
		"involvedObject": map[string]any{"kind": "Deployment", "name": "checkout", "namespace": namespace},
		"type":           "Normal", "reason": reason, "message": "so it is", "firstTimestamp": now, "lastTimestamp": now,
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *person) logs(t *testing.T) {
	p.must(t, "backup", "start", "--rcp-kubeconfig", strings.TrimPrefix(p.environ[3], "KUBECONFIG="), "--listen", "127.0.0.1:0")
	screen := p.types(t, 80, 24, "kubectl-cell backup logs --tail 1 -f")
	screen.AwaitText(`{"time":"`)
	screen.Resize(40, 50)
	p.must(t, "backup", "restart")
	screen.AwaitText("ready http://127.0.0.1:") // the next one's
	screen.Press(ctrlC)
	wantLeft(t, screen, "130")
	p.must(t, "backup", "stop")
}

// TestCtrlCAtPrompts leaves questions by Ctrl-C: nothing is changed, and the code is that of Ctrl-C.
func TestCtrlCAtPrompts(t *testing.T) {
	b := newBed(t)
	p := newPerson(t, b)
	p.must(t, "weight", "cell-1", "150")
	t.Cleanup(func() { p.must(t, "weight", "cell-1", "100") })
	nothing := func(*testing.T) {}
	for _, test := range []struct {
		command, asks, types string
		given                func(t *testing.T)
	}{
		{"rebalance", "Type cell-1 to confirm: ", "cell-", nothing},
		{"failback cell-1", "Type cell-1 to confirm: ", "cell-", p.failedOver},
		{"remove spare --force", "Type spare to confirm: ", "spar", p.spareCell},
		{"rebalance abort", "Go on? [y/N]: ", "y", p.unfinishedRun},
		{"rebalance --window 50", "Go on? [y/N]: ", "y", p.otherPoints}, // no member differs whose name could be asked for
	} {
		t.Run(test.command, func(t *testing.T) {
			test.given(t)
			before := p.federation(t)
			screen := p.types(t, 40, 24, "kubectl-cell "+test.command)
			screen.Await(test.asks, func(text string) bool { return strings.Contains(unwrapped(text), strings.TrimSpace(test.asks)) })
			screen.Press(test.types + ctrlC)
			if text := wantLeft(t, screen, "130"); !strings.Contains(unwrapped(text), "nothing was changed") {
				t.Errorf("it says nothing of what it left:\n%s", text)
			}
			if after := p.federation(t); after != before {
				t.Errorf("the federation has changed from %s to %s", before, after)
			}
		})
	}
}

// failedOver has cell-1 be out of the ring and unavailable, until the end of the test.
func (p *person) failedOver(t *testing.T) {
	t.Helper()
	before, err := p.b.client.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ring, out := before.DeepCopy(), func(m v1alpha1.RingMember) bool { return m.Cell == "cell-1" }
	ring.Spec.Members = slices.DeleteFunc(ring.Spec.Members, out)
	ring.Status.Current.Members = slices.DeleteFunc(ring.Status.Current.Members, out)
	ring.Status.Unavailable = []string{"cell-1"}
	if err := p.b.writeRing(ring); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.b.writeRing(before); err != nil {
			t.Error(err)
		}
	})
}

// spareCell registers a cell that is in no ring, until the end of the test.
func (p *person) spareCell(t *testing.T) {
	t.Helper()
	ctx, cells := context.WithoutCancel(t.Context()), p.b.client.Cells()
	_, err := cells.Create(ctx, &v1alpha1.Cell{
		ObjectMeta: metav1.ObjectMeta{Name: "spare"}, Spec: v1alpha1.CellSpec{KubeconfigSecretRef: v1alpha1.SecretReference{Name: "cell-spare"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cells.Delete(ctx, "spare", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// unfinishedRun leaves the record of a rebalance that nobody drives, until the end of the test.
func (p *person) unfinishedRun(t *testing.T) {
	t.Helper()
	ctx, runs := context.WithoutCancel(t.Context()), p.b.client.Rebalances()
	_, err := runs.Create(ctx, &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: "r-left"}, Spec: v1alpha1.RebalanceSpec{Window: 1}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runs.Delete(ctx, "r-left", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// otherPoints makes the number of points all that the wanted ring differs in, until the end of the test.
func (p *person) otherPoints(t *testing.T) {
	t.Helper()
	ctx, rings := context.WithoutCancel(t.Context()), p.b.client.Rings()
	before := changeRing(ctx, t, rings, func(ring *v1alpha1.Ring) {
		ring.Spec.RingLayout = *ring.Status.Current.DeepCopy()
		ring.Spec.PointsPerWeight++
	})
	t.Cleanup(func() { changeRing(ctx, t, rings, func(ring *v1alpha1.Ring) { ring.Spec = before.Spec }) })
}

// changeRing changes the wanted ring, and returns what it was.
func changeRing(ctx context.Context, t *testing.T, rings client.Resource[v1alpha1.Ring, v1alpha1.RingList], change func(*v1alpha1.Ring)) *v1alpha1.Ring {
	t.Helper()
	before, err := rings.Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	after := before.DeepCopy()
	change(after)
	if _, err := rings.Update(ctx, after, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return before
}

// unwrapped is what is on a screen without the breaks of a narrow terminal.
func unwrapped(text string) string { return ansi.Strip(strings.ReplaceAll(text, "\n", "")) }

// federation is the versions of the ring, and what is asked of all cells and runs.
func (p *person) federation(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	ring, err := p.b.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := "ring " + ring.ResourceVersion
	cells, err := p.b.client.Cells().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range cells.Items {
		out += fmt.Sprintf(" %s@%d", cell.Name, cell.Generation)
	}
	runs, err := p.b.client.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	failovers, err := p.b.client.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs.Items {
		out += fmt.Sprintf(" %s@%d", run.Name, run.Generation)
	}
	for _, run := range failovers.Items {
		out += fmt.Sprintf(" %s@%d", run.Name, run.Generation)
	}
	return out
}

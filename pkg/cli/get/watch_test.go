package get

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// TestFollow goes through looks at a list: what is there, what changes, a cell and then everything that does not answer,
// and what is gone.
func TestFollow(t *testing.T) {
	at := func(name, cell, state string) row {
		return row{name: name, cell: cell, state: state, text: []string{name, cell, state}, data: map[string]string{"name": name, "state": state}}
	}
	header := []string{"NAME", "CELL", "STATE"}
	looks := []look{
		{header: header, rows: []row{at("a", "cell-1", "stable"), at("b", "cell-2", "stable"), at("c", "cell-1", "stable")}},
		{header: header, rows: []row{at("a", "cell-1", "stable"), at("b", "cell-2", "stable"), at("c", "cell-1", "stable")}},
		{header: header, rows: []row{at("a", "cell-1", "migrating"), at("c", "cell-1", "stable")}, silent: []string{"cell-2"}, warnings: []string{"cell cell-2: no answer"}},
		{header: header, rows: []row{at("a", "cell-1", "migrating"), at("c", "cell-1", "stable")}, silent: []string{"cell-2"}, warnings: []string{"cell cell-2: no answer"}},
		{},
		{header: header, rows: []row{at("a", "cell-2", "stable"), at("a-long-one", "cell-1", "stable"), at("b", "cell-2", "stable")}},
	}
	const fails = 4
	for format, want := range map[string]string{
		"": "NAME  CELL    STATE\na     cell-1  stable\nb     cell-2  stable\nc     cell-1  stable\n" +
			"a     cell-1  migrating\na     cell-2  stable\na-long-one  cell-1  stable\nc           cell-1  deleted\n",
		"name": "a\nb\nc\na\na\na-long-one\nc\n",
		"json": `{"seq":1,"ts":"2000-01-01T00:00:00Z","type":"added","object":{"name":"a","state":"stable"}}
{"seq":2,"ts":"2000-01-01T00:00:00Z","type":"added","object":{"name":"b","state":"stable"}}
{"seq":3,"ts":"2000-01-01T00:00:00Z","type":"added","object":{"name":"c","state":"stable"}}
{"seq":4,"ts":"2000-01-01T00:00:04Z","type":"modified","object":{"name":"a","state":"migrating"}}
{"seq":5,"ts":"2000-01-01T00:00:10Z","type":"modified","object":{"name":"a","state":"stable"}}
{"seq":6,"ts":"2000-01-01T00:00:10Z","type":"added","object":{"name":"a-long-one","state":"stable"}}
{"seq":7,"ts":"2000-01-01T00:00:10Z","type":"deleted","object":{"name":"c","state":"stable"}}
`,
	} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out, errOut bytes.Buffer
				output := printers.Output{Format: format}
				printer, err := output.Printer()
				if err != nil {
					t.Fatal(err)
				}
				env := &command.Env{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}, Clock: utc{clock.RealClock{}}}
				f := &follower{env: env, output: output, printer: printer, stateColumn: 2}
				ctx, cancel := context.WithCancel(t.Context())
				turn := 0
				err = f.follow(ctx, func(context.Context) (look, error) {
					turn++
					switch turn - 1 {
					case len(looks):
						cancel()
						return look{}, ctx.Err()
					case fails:
						return look{}, errors.New("the ring cannot be read")
					}
					return looks[turn-1], nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				if diff := cmp.Diff(want, out.String()); diff != "" {
					t.Errorf("output (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff("warning: cell cell-2: no answer\nwarning: the ring cannot be read; trying again\n", errOut.String()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// utc is a clock whose times print alike everywhere.
type utc struct{ clock.RealClock }

// Now implements [clock.PassiveClock].
func (u utc) Now() time.Time { return u.RealClock.Now().UTC() }

// TestFollowAlignsWideCharacters: columns stand below one another whatever width a character has.
func TestFollowAlignsWideCharacters(t *testing.T) {
	var out bytes.Buffer
	f := &follower{env: &command.Env{IOStreams: genericiooptions.IOStreams{Out: &out}}}
	rows := [][]string{{"CELL", "PROBLEM", "AGE"}, {"cell-1", "没有 回答", "1d"}, {"cell-2", "-", "2d"}}
	f.widen(rows)
	for _, row := range rows {
		if err := f.write(row); err != nil {
			t.Fatal(err)
		}
	}
	want := "CELL    PROBLEM    AGE\ncell-1  没有 回答  1d\ncell-2  -          2d\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

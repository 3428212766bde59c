package selection_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/test/conformance/selection"
)

func TestSpecs(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []selection.Spec
		err  string
	}{
		"groups, and the short selection": {
			in: "# Watch\n\n* [sig] watches all\n  [sig] watches one\n# List\n[sig] lists\n",
			want: []selection.Spec{
				{Name: "[sig] watches all", Group: "Watch", Short: true},
				{Name: "[sig] watches one", Group: "Watch"},
				{Name: "[sig] lists", Group: "List"},
			},
		},
		"nothing":         {in: "\n"},
		"no heading":      {in: "\n[sig] watches\n", err: `line 2: spec "[sig] watches" stands before the first heading`},
		"the same, twice": {in: "# Watch\n* [sig] a\n[sig] a\n", err: `line 3: spec "[sig] a" is listed twice`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := selection.Specs(strings.NewReader(tc.in))
			if message(err) != tc.err {
				t.Fatalf("error %q, want %q", message(err), tc.err)
			}
			if diff := cmp.Diff(tc.want, got); tc.err == "" && diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestEachSpecIsInOneShard(t *testing.T) {
	specs := []selection.Spec{
		{Name: "a"}, {Name: "b [Serial]"}, {Name: "c [Slow]"}, {Name: "d"}, {Name: "e"}, {Name: "f [Serial] [Slow]"},
	}
	want := [][]selection.Spec{{specs[0], specs[4]}, {specs[3]}, {specs[1], specs[5]}, {specs[2]}}
	for shard := range want {
		if diff := cmp.Diff(want[shard], selection.Shard(specs, shard, 2)); diff != "" {
			t.Errorf("shard %d, -want +got:\n%s", shard, diff)
		}
	}
}

func TestExceptions(t *testing.T) {
	specs := []selection.Spec{{Name: "[sig] a"}, {Name: "[sig] b"}}
	for name, tc := range map[string]struct {
		in   string
		want map[string]string
		err  string
	}{
		"reasons":        {in: "# remark\n[sig] a | it is | so\n", want: map[string]string{"[sig] a": "it is | so"}},
		"none":           {want: map[string]string{}},
		"no reason":      {in: "[sig] a\n", err: `line 1: exception for "[sig] a" gives no reason`},
		"empty reason":   {in: "[sig] b | \n", err: `line 1: exception for "[sig] b |" gives no reason`},
		"does not run":   {in: "[sig] c | so\n", err: `line 1: exception for "[sig] c", which is not in the list of specs`},
		"only a heading": {in: "# remark\n", want: map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := selection.Exceptions(strings.NewReader(tc.in), specs)
			if message(err) != tc.err {
				t.Fatalf("error %q, want %q", message(err), tc.err)
			}
			if diff := cmp.Diff(tc.want, got); tc.err == "" && diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunWritesTheTableBetweenTheMarks(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	o := options{
		specs:      file("specs", "# Watch\n* [sig] a\n[sig] b\n"),
		exceptions: file("exceptions", "[sig] b | so\n"),
		direct:     file("direct", `{"spec":"[sig] a","state":"passed"}`+"\n"+`{"spec":"[sig] b","state":"passed"}`+"\n"),
		router:     file("router", `{"spec":"[sig] a","state":"passed"}`+"\n"+`{"spec":"[sig] b","state":"failed"}`+"\n"),
		document:   file("document", "# Title\n\n"+begin+"old\n"+end+"\nafter\n"),
	}
	for range 2 {
		var out strings.Builder
		if ok, err := run(o, &out); err != nil || !ok {
			t.Fatalf("ok %t, error %v, output:\n%s", ok, err, &out)
		}
	}
	got, err := os.ReadFile(o.document)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n\n" + begin + `
2 specs: 1 pass directly and through the router, 1 are excused, 0 fail only through the router, 0 fail directly.

### Watch

| spec | direct | router |
|---|---|---|
| \[sig] a | passed | passed |
| \[sig] b | passed | failed: so |

` + end + "\nafter\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRunSelectsAsTheSpecsWereSelected(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"specs": "# Watch\n* [sig] a\n[sig] b\n", "exceptions": "",
		"results": `{"spec":"[sig] a","state":"passed"}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	results := filepath.Join(dir, "results")
	all := options{specs: filepath.Join(dir, "specs"), exceptions: filepath.Join(dir, "exceptions"), direct: results, router: results}
	short, focused := all, all
	short.short, focused.focus = true, " a$"
	for name, tc := range map[string]struct {
		options options
		ok      bool
	}{
		"all, of which one did not run": {all, false},
		"the short selection":           {short, true},
		"by name":                       {focused, true},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if ok, err := run(tc.options, &out); err != nil || ok != tc.ok {
				t.Errorf("ok %t, want %t; error %v, output:\n%s", ok, tc.ok, err, &out)
			}
		})
	}
}

package result_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/test/conformance/result"
)

func TestAppendedResultsAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	none, err := result.Read(path)
	if err != nil || len(none) != 0 {
		t.Fatalf("no file: %v, %v; want no results and no error", none, err)
	}
	first := result.Result{Spec: "[sig] a", State: "failed", Seconds: 1.5, Message: "two\nlines"}
	other := result.Result{Spec: "[sig] b", State: result.Passed}
	again := result.Result{Spec: "[sig] a", State: result.Passed, Seconds: 2}
	for _, r := range []result.Result{first, other, again} {
		if err := result.Append(path, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := result.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]result.Result{"[sig] a": again, "[sig] b": other}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGarbageIsNoResult(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	if err := os.WriteFile(path, []byte(`{"spec": "[sig] a", "sta`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := result.Read(path); err == nil {
		t.Errorf("read %v, want an error", got)
	}
}

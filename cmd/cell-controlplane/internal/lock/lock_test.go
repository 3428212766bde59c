package lock

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	want := Holder{PID: 4711, StartTime: time.Now().UTC().Round(0), Address: "https://127.0.0.1:1", Version: "v"}
	if err := first.Record(Holder{PID: 4711, Address: strings.Repeat("longer than the next one", 9)}); err != nil {
		t.Fatal(err)
	}
	if err := first.Record(want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got Holder
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("content: got %+v, %v, want %+v", got, err, want)
	}

	_, err = Acquire(t.Context(), path)
	if code := fault.Code(err); code != fault.LockHeld || !strings.Contains(err.Error(), "pid 4711") {
		t.Errorf("second holder: got %v with code %d", err, code)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

// Between the lock and its record another process may find it held by nobody it can name.
func TestHeldWithoutRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	if _, err := Acquire(t.Context(), path); err == nil || err.Error() != "this control plane is already running" {
		t.Errorf("got %v", err)
	}
}

// A holder that goes away a moment later is not in the way.
func TestHolderOnItsWayOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience/10, func() { _ = first.Release() })
	defer timer.Stop()
	second, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

// What a dead process left behind does not hold anybody up.
func TestLeftoverFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte(`{"pid":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}

package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := daemon.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Record(daemon.Holder{PID: os.Getpid(), StartTime: time.Now()}); err != nil {
		t.Fatal(err)
	}
	_, err = daemon.AcquireLock(path)
	held, ok := errors.AsType[*daemon.HeldError](err)
	if !ok || held.Holder.PID != os.Getpid() {
		t.Errorf("second lock: %v, want to be told of pid %d", err, os.Getpid())
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := daemon.AcquireLock(path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

// A short record over a long one leaves nothing of the long one.
func TestRecordReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := daemon.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, address := range []string{"https://a-very-long-address.example", ""} {
		if err := lock.Record(daemon.Holder{PID: os.Getpid(), Address: address}); err != nil {
			t.Fatal(err)
		}
		holder, held, err := daemon.Inspect(path)
		if err != nil || !held || holder.Address != address {
			t.Errorf("inspect: %+v, held %v, %v; want address %q", holder, held, err, address)
		}
	}
}

// Who waits for a lock whose file is removed must not end with the lock of a file that nobody finds.
func TestLockOfARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := daemon.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := daemon.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if third, err := daemon.AcquireLock(path); err == nil {
		t.Errorf("two hold the lock of %s", path)
		_ = third.Release()
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestInspectOfNothing(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte("{not json"), 0o600); err != nil {
		t.Fatal(err)
	}
	endless := filepath.Join(dir, "endless")
	if err := os.Symlink("/dev/zero", endless); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), damaged, endless} {
		holder, held, err := daemon.Inspect(path)
		if err != nil || held {
			t.Errorf("inspect %s: %+v, held %v, %v", path, holder, held, err)
		}
	}
}

package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// modeEnv makes this test binary a daemon; see behave.
const modeEnv = "DAEMON_TEST_MODE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		os.Exit(behave(mode, os.Args[1]))
	}
	// Under the race detector a process lingers for a second after its end, the daemons here too.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// logBound is the size at which the daemons that rotate put their logs aside, in bytes.
const logBound = 1000

// behave is a daemon: well-behaved, or in the way that mode says.
func behave(mode, lockPath string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch mode {
	case "fails":
		fmt.Fprintln(os.Stderr, "error: no such luck")
		return 7
	case "ends":
		return 0
	case "parent":
		// Starts a daemon that shall die with it, and waits to be killed.
		_, err := daemon.Start(context.Background(), specIn(filepath.Dir(lockPath), "good", func(s *daemon.Spec) { s.DieWithParent = true }))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("started")
		select {}
	}
	lock, err := daemon.AcquireLock(lockPath)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	if err := lock.Record(daemon.Holder{PID: os.Getpid(), StartTime: time.Now(), Address: "https://here"}); err != nil {
		return 1
	}
	if strings.HasPrefix(mode, "rotates") {
		log, err := daemon.OpenRotating(filepath.Join(filepath.Dir(lockPath), "log"), logBound, nil)
		if err == nil {
			_, err = fmt.Fprintln(log, "a line of its own")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if mode == "rotates and fails" {
		fmt.Fprintln(os.Stderr, "error: no such luck")
		return 7
	}
	fmt.Println("a line before")
	if mode != "silent" {
		fmt.Println("ready https://here")
	}
	<-term
	if mode == "deaf" {
		select {}
	}
	if err := lock.Release(); err != nil {
		return 1
	}
	return 0
}

func specIn(dir, mode string, change func(*daemon.Spec)) daemon.Spec {
	lock := filepath.Join(dir, "lock")
	spec := daemon.Spec{
		Name: "tester", Command: []string{os.Args[0], lock},
		Env:      append(os.Environ(), modeEnv+"="+mode),
		LockPath: lock, LogPath: filepath.Join(dir, "log"), Grace: time.Second,
	}
	if change != nil {
		change(&spec)
	}
	return spec
}

func startGood(t *testing.T, mode string) daemon.Spec {
	t.Helper()
	spec := specIn(t.TempDir(), mode, nil)
	result, err := daemon.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := daemon.Stop(context.Background(), spec.LockPath, 0); err != nil {
			t.Error(err)
		}
	})
	if result.Address != "https://here" || result.AlreadyRunning {
		t.Errorf("start: %+v, want the address and a new process", result)
	}
	return spec
}

func TestStartStopTwice(t *testing.T) {
	spec := startGood(t, "good")
	holder, held, err := daemon.Inspect(spec.LockPath)
	if err != nil || !held || holder.PID <= 0 {
		t.Fatalf("inspect: %+v, held %v, %v", holder, held, err)
	}
	again, err := daemon.Start(t.Context(), spec)
	if err != nil || !again.AlreadyRunning || again.Address != "https://here" {
		t.Errorf("second start: %+v, %v; want to find it running", again, err)
	}
	for _, want := range []bool{true, false} {
		stopped, err := daemon.Stop(t.Context(), spec.LockPath, 10*time.Second)
		if err != nil || stopped != want {
			t.Errorf("stop: %v, %v; want %v", stopped, err, want)
		}
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	spec := startGood(t, "deaf")
	stopped, err := daemon.Stop(t.Context(), spec.LockPath, 50*time.Millisecond)
	if err != nil || !stopped {
		t.Errorf("stop: %v, %v", stopped, err)
	}
	if _, held, _ := daemon.Inspect(spec.LockPath); held {
		t.Error("the lock is held still")
	}
}

// A crash leaves the lock file behind. The pid in it is believed only while the lock is held.
func TestForeignPidIsNotTouched(t *testing.T) {
	foreign := exec.Command("sleep", "60")
	if err := foreign.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = foreign.Process.Kill()
		_ = foreign.Wait()
	}()
	path := filepath.Join(t.TempDir(), "lock")
	left := fmt.Sprintf(`{"pid":%d,"startTime":"2020-01-01T00:00:00Z"}`, foreign.Process.Pid)
	if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
		t.Fatal(err)
	}
	stopped, err := daemon.Stop(t.Context(), path, 0)
	if err != nil || stopped {
		t.Errorf("stop: %v, %v; want nothing to stop", stopped, err)
	}
	if !daemon.Alive(foreign.Process.Pid) { // which says no of one that has ended, and was not waited for
		t.Error("the process with the recycled pid was hit")
	}
}

func TestStartReportsWhyNot(t *testing.T) {
	for _, test := range []struct {
		mode, want string
		exit       int
	}{
		{"fails", "error: no such luck", 7},
		{"ends", "exit status 0", 0},
	} {
		t.Run(test.mode, func(t *testing.T) {
			_, err := daemon.Start(t.Context(), specIn(t.TempDir(), test.mode, nil))
			ended, ok := errors.AsType[*daemon.StartError](err)
			if !ok || ended.Exit != test.exit || !strings.Contains(err.Error(), test.want) {
				t.Errorf("start: %v, want exit status %d and %q", err, test.exit, test.want)
			}
		})
	}
}

func TestStartIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		name, mode string
		ready      func(context.Context, string) error
		want       string
	}{
		{"never ready", "silent", nil, "deadline exceeded"},
		{"ready but not usable", "good", func(context.Context, string) error { return errors.New("it answers nonsense") }, "answers nonsense"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			spec := specIn(t.TempDir(), test.mode, func(s *daemon.Spec) { s.Ready = test.ready })
			_, err := daemon.Start(ctx, spec)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "a line before") {
				t.Errorf("start: %v, want %q and the log", err, test.want)
			}
			if _, held, _ := daemon.Inspect(spec.LockPath); held {
				t.Error("it runs still")
			}
		})
	}
}

// Another command has started the daemon a moment ago: it runs, but cannot be used yet.
func TestStartWaitsForOneThatIsStarting(t *testing.T) {
	spec := startGood(t, "good")
	asked := 0
	spec.Ready = func(context.Context, string) error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	result, err := daemon.Start(t.Context(), spec)
	if err != nil || !result.AlreadyRunning || asked != 3 {
		t.Errorf("start: %+v, %v after %d questions; want the running one after 3", result, err, asked)
	}
	spec.Ready = func(context.Context, string) error {
		_, err := daemon.Stop(t.Context(), spec.LockPath, time.Second)
		return errors.Join(errors.New("not yet"), err)
	}
	if result, err := daemon.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "it has ended") {
		t.Errorf("start: %+v, %v; want to be told that it has ended", result, err)
	}
}

func TestOldReadyLineIsNotBelieved(t *testing.T) {
	spec := specIn(t.TempDir(), "fails", nil)
	if err := os.WriteFile(spec.LogPath, []byte("ready https://last-time\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if result, err := daemon.Start(t.Context(), spec); err == nil {
		t.Errorf("start: %+v, want the failure", result)
	}
}

func TestDaemonDiesWithParent(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], filepath.Join(dir, "lock"))
	parent.Env = append(os.Environ(), modeEnv+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatalf("parent did not start its daemon: %v", err)
	}
	if _, held, err := daemon.Inspect(filepath.Join(dir, "lock")); !held || err != nil {
		t.Fatalf("daemon does not run: %v", err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for held := true; held; {
		_, held, _ = daemon.Inspect(filepath.Join(dir, "lock"))
		if time.Now().After(deadline) {
			t.Fatal("daemon outlived its parent")
		}
	}
}

func TestLogIsPutAsideWhenLarge(t *testing.T) {
	spec := specIn(t.TempDir(), "fails", nil)
	if err := os.WriteFile(spec.LogPath, make([]byte, 9<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Start(t.Context(), spec); err == nil {
		t.Fatal("start of a failing daemon succeeded")
	}
	info, err := os.Stat(spec.LogPath + daemon.PreviousLog)
	if err != nil || info.Size() != 9<<20 {
		t.Errorf("previous log: %v, %v", info, err)
	}
}

// A log that is nearly full is put aside by the daemon itself, before it is ready: what it says on standard output goes on
// in that one.
func TestStartSeesTheLogPutAside(t *testing.T) {
	for mode, want := range map[string]string{"rotates": "", "rotates and fails": "error: no such luck"} {
		t.Run(mode, func(t *testing.T) {
			spec := specIn(t.TempDir(), mode, func(s *daemon.Spec) { s.MaxLog = logBound })
			if err := os.WriteFile(spec.LogPath, []byte(strings.Repeat("x", logBound-2)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = daemon.Stop(context.Background(), spec.LockPath, 0) }()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			result, err := daemon.Start(ctx, spec)
			if failed := err != nil; failed != (want != "") || failed && !strings.Contains(err.Error(), want) || !failed && result.Address != "https://here" {
				t.Errorf("start: %+v, %v", result, err)
			}
			if own, err := os.ReadFile(spec.LogPath); err != nil || string(own) != "a line of its own\n" {
				t.Errorf("its own log: %q, %v", own, err)
			}
		})
	}
}

// TestLogThatIsADevice: what a daemon writes there cannot be read, or never ends.
func TestLogThatIsADevice(t *testing.T) {
	spec := specIn(t.TempDir(), "good", func(s *daemon.Spec) {
		if err := os.Symlink("/dev/full", s.LogPath); err != nil {
			t.Fatal(err)
		}
	})
	_, err := daemon.Start(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("start with a device as its log: %v", err)
	}
	if _, held, err := daemon.Inspect(spec.LockPath); err != nil || held {
		t.Errorf("something was started: held %v, %v", held, err)
	}
}

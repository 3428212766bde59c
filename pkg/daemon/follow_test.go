package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 70<<10) // more than is looked at in one go
	all := "one\ntwo\n" + long + "\nfour\n"
	if err := os.WriteFile(path, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[int]string{
		0: "", 1: "four\n", 2: long + "\nfour\n", 3: "two\n" + long + "\nfour\n", 4: all, 9: all, -1: all,
	} {
		var out bytes.Buffer
		offset, err := daemon.Tail(&out, path, lines)
		if err != nil || offset != int64(len(all)) {
			t.Errorf("tail %d: offset %d, %v", lines, offset, err)
		}
		if got := out.String(); got != want {
			t.Errorf("tail %d: %d bytes, want %d", lines, len(got), len(want))
		}
	}
	if _, err := daemon.Tail(&bytes.Buffer{}, path+"-missing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tail of nothing: %v", err)
	}
}

// screen is what a follower shows.
type screen struct {
	changed chan struct{}

	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	late := time.After(10 * time.Second)
	for s.String() != want {
		select {
		case <-s.changed:
		case <-late:
			t.Fatalf("the follower shows %q, want %q", s, want)
		}
	}
}

// A follower misses nothing and repeats nothing, over a rotation and a cut.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := openRotating(t, path, 20, nil)
	ctx, stop := context.WithCancel(t.Context())
	shown := &screen{changed: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Follow(ctx, shown, path, 0) }()
	want := ""
	for line := range 8 {
		text := fmt.Sprintf("line %d\n", line)
		if _, err := log.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		want += text
		shown.await(t, want)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	shown.await(t, want)
	if _, err := log.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	shown.await(t, want+"x\n")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A pid that somebody else has by now is told from one that nobody has.
func TestLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	left := fmt.Sprintf(`{"pid":%d,"address":"https://there"}`, os.Getpid())
	if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
		t.Fatal(err)
	}
	holder, err := daemon.Left(path)
	if err != nil || holder.Address != "https://there" || !daemon.Alive(holder.PID) {
		t.Errorf("left: %+v, %v", holder, err)
	}
	if daemon.Alive(0) || daemon.Alive(-1) {
		t.Error("no process has pid 0 or -1")
	}
}

package listen

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const host = "127.0.0.1"

func portOf(l *net.TCPListener) int { return l.Addr().(*net.TCPAddr).Port }

func TestPortIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports.json")
	first, err := Open(t.Context(), host, 0, file)
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(first)
	if port < firstPort || port > lastPort {
		t.Errorf("chosen port %d is not between %d and %d", port, firstPort, lastPort)
	}
	_, err = Open(t.Context(), host, 0, file)
	if err == nil || !strings.Contains(err.Error(), "which this control plane has used so far, cannot be used") {
		t.Errorf("while it is taken: got %v", err)
	}
	first.Close()
	second, err := Open(t.Context(), host, 0, file)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := portOf(second); got != port {
		t.Errorf("second time: got %d, want %d", got, port)
	}
}

func TestPortIsChangedOnRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports.json")
	first, err := Open(t.Context(), host, 0, file)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	other, err := free(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(other)
	if _, err := Open(t.Context(), host, port, file); err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Errorf("taken port: got %v", err)
	}
	other.Close()
	for _, wanted := range []int{port, 0} {
		l, err := Open(t.Context(), host, wanted, file)
		if err != nil {
			t.Fatal(err)
		}
		if got := portOf(l); got != port {
			t.Errorf("port %d: got %d, want %d", wanted, got, port)
		}
		l.Close()
	}
}

func TestDamagedMemory(t *testing.T) {
	for _, content := range []string{"", "nonsense", `{"apiserver":0}`, `{"apiserver":99999}`, `{"apiserver":"80"}`} {
		file := filepath.Join(t.TempDir(), "ports.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), host, 0, file); err == nil || !strings.Contains(err.Error(), "does not hold a port") {
			t.Errorf("%q: got %v", content, err)
		}
	}
}

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Every write that was acknowledged before kill -9 is there afterwards, at the same address, and the
// controllers' process does not survive its parent.
func TestKillLosesNothing(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	p := launch(t, dir)
	address := p.awaitReady()
	child := p.child()

	const enough = 200
	var acknowledged atomic.Int64
	reached := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		client := p.client()
		for i := 0; write(client, i) == nil; i++ {
			if acknowledged.Add(1) == enough {
				close(reached)
			}
		}
	}()
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("writes take too long")
	}
	p.signal(syscall.SIGKILL)
	p.awaitEnd()
	<-stopped
	eventually(t, "child after its parent's death", gone(child))

	again := launch(t, dir)
	if got := again.awaitReady(); got != address {
		t.Errorf("address after restart: got %s, want %s", got, address)
	}
	list, err := again.client().CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{LabelSelector: "n"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, item := range list.Items {
		found[item.Name] = true
	}
	for i := range int(acknowledged.Load()) {
		if name := fmt.Sprintf("n-%d", i); !found[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
}

func write(client kubernetes.Interface, i int) error {
	name := fmt.Sprintf("n-%d", i)
	_, err := client.CoreV1().ConfigMaps("default").Create(context.Background(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"n": fmt.Sprint(i)}},
	}, metav1.CreateOptions{})
	return err
}

// SIGTERM ends both processes in a few seconds, with open watches ended properly, and gives the lock up.
func TestTerminateIsClean(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	audit := filepath.Join(dir, "audit.log")
	p := start(t, dir, "--audit-log", audit)
	child := p.child()
	watch, err := p.client().CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	began := time.Now()
	if code := p.awaitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0\n%s", code, p.stderr)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("shutdown took %s", took)
	}
	if alive(child) {
		t.Error("the controllers still run")
	}
	for range watch.ResultChan() {
		// What is left of the stream; it must end.
	}
	if data, err := os.ReadFile(audit); err != nil || !strings.Contains(string(data), `"username":"cell-admin"`) {
		t.Errorf("audit log does not show the test's own requests: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "lock")); err != nil || len(data) != 0 {
		t.Errorf("lock after the end: got %q, %v, want an empty file", data, err)
	}
}

func TestTerminateDuringStart(t *testing.T) {
	t.Parallel()
	p := launch(t, tempDir(t))
	eventually(t, "apiserver's port", func(context.Context) error {
		_, err := os.Stat(filepath.Join(p.dir, "etcd", "member"))
		return err
	})
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0\n%s", code, p.stderr)
	}
}

func TestControllersDeathEndsAll(t *testing.T) {
	t.Parallel()
	p := start(t, tempDir(t))
	if err := syscall.Kill(p.child(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.awaitEnd(); code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	if want := "error: controllers ended by themselves: signal: killed"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("standard error lacks %q:\n%s", want, p.stderr)
	}
}

// A path that no unix socket can have works all the same.
func TestLongDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), strings.Repeat("long-", 30))
	p := start(t, dir)
	if _, err := p.client().CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0\n%s", code, p.stderr)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	p := launch(t, tempDir(t), "--port", port)
	if code := p.awaitEnd(); code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	got := p.stderr.String()
	if !strings.HasPrefix(got, "error: port "+port+" cannot be used: ") || !strings.Contains(got, "\n  hint: choose another --port") {
		t.Errorf("standard error: got\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "etcd", "member")); err == nil {
		t.Error("etcd was started before the port was known to be free")
	}
}

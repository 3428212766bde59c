package router_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// streamTimeout is how long the kubelet of the tests waits for the parts of a stream.
const streamTimeout = 10 * time.Second

// kubelet answers what the apiserver of a cell asks the kubelet of a pod's node. Its container knows three
// commands: "cat" says on standard error that it copies, and copies its input, "size" prints the first size of its
// terminal and waits for the end of its input, "exit N" ends with N. Attached to, it copies its input. Its ports say
// which they are, then copy what comes.
type kubelet struct {
	port int
	// more lets the log of the container go on, which stops after its first line, and end lets it end after the second one.
	more, end chan struct{}
}

func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	k := &kubelet{more: make(chan struct{}), end: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		if options, err := remotecommand.NewOptions(r); err == nil {
			remotecommand.ServeExec(w, r, k, r.PathValue("pod"), "", r.PathValue("container"), r.URL.Query()["command"],
				options, streamTimeout, streamTimeout, remotecommand.SupportedStreamingProtocols)
		}
	})
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		if options, err := remotecommand.NewOptions(r); err == nil {
			remotecommand.ServeAttach(w, r, k, r.PathValue("pod"), "", r.PathValue("container"),
				options, streamTimeout, streamTimeout, remotecommand.SupportedStreamingProtocols)
		}
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		if options, err := portforward.NewV4Options(r); err == nil {
			portforward.ServePortForward(w, r, k, r.PathValue("pod"), "", options, streamTimeout, streamTimeout, portforward.SupportedProtocols)
		}
	})
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", k.logs)
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	k.port = server.Listener.Addr().(*net.TCPAddr).Port
	return k
}

// ExecInContainer implements [remotecommand.Executor].
func (k *kubelet) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	switch command[0] {
	case "cat":
		fmt.Fprintln(errOut, "copying")
		_, err := io.Copy(out, in)
		return err
	case "size":
		select {
		case size := <-resize:
			fmt.Fprintf(out, "terminal %v: %dx%d\n", tty, size.Width, size.Height)
			_, err := io.Copy(io.Discard, in)
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	code, err := strconv.Atoi(command[1])
	if err != nil {
		return err
	}
	return exec.CodeExitError{Err: fmt.Errorf("ended with %d", code), Code: code}
}

// AttachContainer implements [remotecommand.Attacher].
func (k *kubelet) AttachContainer(_ context.Context, _, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	_, err := io.Copy(out, in)
	return err
}

// PortForward implements [portforward.PortForwarder].
func (k *kubelet) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if _, err := fmt.Fprintf(stream, "port %d\n", port); err != nil {
		return err
	}
	_, err := io.Copy(stream, stream)
	return err
}

// logs writes a line, another one once the test asks for more, and ends once the test asks for the end.
func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("follow") != "true" {
		fmt.Fprintln(w, "one")
		return
	}
	fmt.Fprintln(w, "one")
	w.(http.Flusher).Flush()
	select {
	case <-k.more:
		fmt.Fprintln(w, "two")
		w.(http.Flusher).Flush()
	case <-r.Context().Done():
	}
	select {
	case <-k.end:
	case <-r.Context().Done():
	}
}

// join makes the kubelet a node of a cell, until the test ends.
func (k *kubelet) join(t *testing.T, cell *rest.Config, name string) {
	t.Helper()
	nodes := kube(t, cell).CoreV1().Nodes()
	_, err := nodes.Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(k.port)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nodes.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// podOn makes a pod through the router on a node of this kubelet, which every cell knows until the test ends.
func (b *bed) podOn(t *testing.T, k *kubelet, ns string) *corev1.Pod {
	t.Helper()
	for _, config := range b.cells {
		k.join(t, config, "node-of-"+ns)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "streams"},
		Spec:       corev1.PodSpec{NodeName: "node-of-" + ns, Containers: []corev1.Container{{Name: "c", Image: "registry.example/c:1"}}},
	}
	var made *corev1.Pod
	until(t, "the pod is made", func(ctx context.Context) bool {
		var err error
		made, err = kube(t, b.router).CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsForbidden(err) { // until the cell has made the default service account
			t.Fatal(err)
		}
		return err == nil
	})
	return made
}

package router_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// dialTLS opens a connection for HTTP/1.1 as the administrator, without any library between the test and
// the bytes.
func dialTLS(t *testing.T, config *rest.Config) *tls.Conn {
	t.Helper()
	return dialProtocol(t, config, "http/1.1")
}

// dialProtocol does so for one that TLS agrees on.
func dialProtocol(t *testing.T, config *rest.Config, protocol string) *tls.Conn {
	t.Helper()
	security, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	security.NextProtos = []string{protocol}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(config.Host, "https://"), security)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// sendBytes sends a request as it is written here, and returns the answer's code and body; 0 where the
// connection was closed without one. One that ends has nothing after it, whatever its head says.
func sendBytes(t *testing.T, config *rest.Config, request string, ends bool) (int, string) {
	t.Helper()
	conn := dialTLS(t, config)
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, ""
	}
	if ends {
		if err := conn.CloseWrite(); err != nil {
			return 0, ""
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Errorf("%.60q: the answer breaks off: %v", request, err)
	}
	return answer.StatusCode, string(body)
}

// TestStrangePathsAreAnsweredAsByAnAPIServer sends paths that no client would to the router and to the cell.
func TestStrangePathsAreAnsweredAsByAnAPIServer(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "paths")
	names := b.oneOfEach(t, ns)
	name := names["cell-1"]
	at := "/api/v1/namespaces/" + ns + "/configmaps/"
	for _, path := range []string{
		at + name, "/" + at + name, at + "/" + name, at + name + "/", at + name + "//",
		"/api//v1/namespaces/" + ns + "/configmaps/" + name, "/api/v1//namespaces/" + ns + "/configmaps/" + name,
		at + "../configmaps/" + name, at + "./" + name, at + name + "/..", at + "%2e%2e/configmaps/" + name, at + "..%2fsecrets",
		at + name + "%2fstatus", at + "%2f" + name, "/api/v1/namespaces/" + ns + "%2fconfigmaps%2f" + name, "/api%2fv1/namespaces/" + ns + "/configmaps/" + name,
		at + name + "%00", at + name + "%0d%0aX-Remote-User:%20root", at + "%ff", at + strings.ToUpper(name), at + strings.Repeat("x", 5000),
		at + name + "?a=b;c", at + name + "?%", at + name + "?resourceVersion=%", at + name + "#x", at + name + "/nonsense", at + name + "/status/more",
		"/api/v1/namespaces/" + ns + "/configmaps/" + name + "/../../../../../../etc/passwd",
		"/api/v1/namespaces//configmaps/" + name, "/api/v1/namespaces/../namespaces/" + ns + "/configmaps/" + name,
	} {
		request := "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
		through, body := sendBytes(t, b.router, request, false)
		direct, want := sendBytes(t, b.cells["cell-1"], request, false)
		if through != direct {
			t.Errorf("%.120q: %d %.200s; the cell says %d %.200s", path, through, body, direct, want)
		}
		if strings.Contains(body, "root:") {
			t.Errorf("%q reaches a file", path)
		}
	}
}

// TestRawPathsStayInTheirCell: what follows the name of a cell never names another one.
func TestRawPathsStayInTheirCell(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "rawpaths")
	name := b.oneOfEach(t, ns)["cell-2"]
	for _, path := range []string{"/cells/cell-1/../cell-2", "/cells/cell-1%2f..%2fcell-2", "/cells/cell-1//cells/cell-2", "/cells/cell-1/cells/cell-2", "/cells//cell-2", "/cells/..", "/cells/%2e%2e"} {
		code, body := sendBytes(t, b.router, "GET "+path+"/api/v1/namespaces/"+ns+"/configmaps/"+name+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false)
		if code < 300 || strings.Contains(body, "ConfigMap") {
			t.Errorf("%s: %d %.200s; want a refusal", path, code, body)
		}
	}
}

// TestHeadersDoNotChangeWhoIsAsking asks the RCP and a cell who the client is, with headers that try to say
// so themselves.
func TestHeadersDoNotChangeWhoIsAsking(t *testing.T) {
	b := newBed(t)
	const review = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`
	const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	who := func(prefix, headers string) (int, authenticationv1.UserInfo) {
		request := fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", prefix, path, len(review), headers, review)
		code, body := sendBytes(t, b.router, request, false)
		var answer authenticationv1.SelfSubjectReview
		if code == http.StatusCreated {
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
		}
		return code, answer.Status.UserInfo
	}
	for _, prefix := range []string{"", "/cells/cell-1"} {
		_, admin := who(prefix, "")
		if admin.Username == "" {
			t.Fatal("the administrator is nobody")
		}
		for _, headers := range []string{
			"X-Remote-User: root\r\nX-Remote-Group: system:masters\r\nX-Remote-Extra-A: b\r\n",
			"Connection: X-Remote-User, Impersonate-User, Impersonate-Group, Authorization\r\n",
			"Connection: impersonate-user\r\nConnection: impersonate-group\r\n",
			"Forwarded: for=root\r\nX-Forwarded-User: root\r\n",
			"Transfer-Encoding: identity\r\n",
			"Proxy-Authorization: Bearer x\r\nProxy-Connection: Impersonate-User\r\n",
			"Idempotency-Key: x\r\n",
		} {
			code, got := who(prefix, headers)
			if code == http.StatusCreated && (got.Username != admin.Username || len(got.Groups) != len(admin.Groups)) {
				t.Errorf("%s %q: the control plane sees %s in %v; it is %s in %v", prefix, headers, got.Username, got.Groups, admin.Username, admin.Groups)
			}
			if code != http.StatusCreated && code != http.StatusBadRequest && code != http.StatusNotImplemented {
				t.Errorf("%s %q: %d", prefix, headers, code)
			}
		}
		for _, headers := range []string{"Impersonate-Group: system:masters\r\n", "Impersonate-Extra-X: y\r\n", "Impersonate-Uid: 1\r\n"} {
			if code, got := who(prefix, headers); code < 400 {
				t.Errorf("%s %q alone: %d %v; want a refusal", prefix, headers, code, got)
			}
		}
		if code, got := who(prefix, "Impersonate-User: alice\r\nConnection: Impersonate-User\r\n"); code == http.StatusCreated && got.Username != "alice" && got.Username != admin.Username {
			t.Errorf("%s impersonation: %d %v", prefix, code, got)
		}
	}
}

// TestHalfABodyMakesNoObject: bodies that break off, or that say two things of their length.
func TestHalfABodyMakesNoObject(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "bodies")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	const object = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"half"}}`
	head := "POST /api/v1/namespaces/" + ns + "/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"truncated":           head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(object)+1, object),
		"truncated chunks":    head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(object), object),
		"a bad chunk":         head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + object,
		"two lengths":         head + fmt.Sprintf("Content-Length: %d\r\nContent-Length: 3\r\n\r\n%s", len(object), object),
		"a negative length":   head + "Content-Length: -1\r\n\r\n" + object,
		"a second length":     head + fmt.Sprintf("Content-Length: %d, 3\r\n\r\n%s", len(object), object),
		"an unknown encoding": head + "Transfer-Encoding: chunked, x\r\n\r\n" + object,
		"no version":          strings.Replace(head, " HTTP/1.1", "", 1) + "\r\n" + object,
		"a folded header":     head + "X: a\r\n b\x00\r\n\r\n" + object,
	} {
		if code, body := sendBytes(t, b.router, request, true); code != 0 && code < 400 {
			t.Errorf("%s: %d %.200s; want a refusal", name, code, body)
		}
		if _, err := maps.Get(t.Context(), "half", getOptions()); !apierrors.IsNotFound(err) {
			t.Fatalf("%s: the object is there (%v)", name, err)
		}
	}
	code, body := sendBytes(t, b.router, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n", false)
	if code != 0 && code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("two megabytes of headers: %d %.200s", code, body)
	}
}

package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// tooLarge is more than an apiserver reads of a body, in bytes.
const tooLarge = 3<<20 + 1

// exchange sends one request with a body, and returns the answer's code and body.
func exchange(t *testing.T, config *rest.Config, method, path, contentType string, body io.Reader) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %.80s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Errorf("%s %.80s: the answer breaks off: %v", method, path, err)
	}
	return answer.StatusCode, string(text)
}

// zeros is a body without end, and counts what was read of it. Its length is not known beforehand.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	z.read += len(p)
	return len(p), nil
}

// TestOversizedBodiesAreRefusedWhateverTheyAreFor sends too much to every class of resource, by every method, with its
// length said beforehand and without end.
func TestOversizedBodiesAreRefusedWhateverTheyAreFor(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "oversized")
	in := "/api/v1/namespaces/" + ns
	for _, path := range []string{
		in + "/configmaps", in + "/events", "/apis/rbac.authorization.k8s.io/v1/namespaces/" + ns + "/roles",
		"/api/v1/namespaces/kube-system/configmaps", "/cells/cell-1" + in + "/configmaps",
	} {
		for _, request := range []struct{ method, path, contentType string }{
			{http.MethodPost, path, "application/json"}, {http.MethodPut, path + "/x", "application/json"},
			{http.MethodPut, path + "/x", "application/vnd.kubernetes.protobuf"},
			{http.MethodPatch, path + "/x", "application/merge-patch+json"}, {http.MethodPatch, path + "/x", "application/json-patch+json"},
			{http.MethodDelete, path + "/x", "application/json"}, {http.MethodDelete, path, "application/json"},
		} {
			code, text := exchange(t, b.router, request.method, request.path, request.contentType, strings.NewReader(strings.Repeat("0", tooLarge)))
			if code != http.StatusRequestEntityTooLarge {
				t.Errorf("%s %s (%s): %d %.200s; want 413", request.method, request.path, request.contentType, code, text)
			}
			endless := &zeros{}
			code, text = exchange(t, b.router, request.method, request.path, request.contentType, endless)
			if code != http.StatusRequestEntityTooLarge || endless.read > 4*tooLarge {
				t.Errorf("%s %s (%s) without end: %d %.200s after %d bytes; want 413 after %d", request.method, request.path, request.contentType, code, text, endless.read, tooLarge)
			}
		}
	}
}

// TestUnknownVerbsAreAnsweredAsByAnAPIServer sends methods that the API does not have to the router and to the cell.
func TestUnknownVerbsAreAnsweredAsByAnAPIServer(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "verbs")
	in := "/api/v1/namespaces/" + ns
	name := b.oneOfEach(t, ns)["cell-1"]
	for _, path := range []string{in + "/configmaps", in + "/configmaps/" + name, in + "/configmaps/" + name + "/status", in + "/events", "/api/v1", "/apis", "/version", in} {
		for _, method := range []string{"BREW", "get", "PROPFIND", "TRACE", "OPTIONS", "LINK", "PURGE", "CONNECT", "M-SEARCH", "G\x00T", "PO ST", "X" + strings.Repeat("Y", 3000)} {
			request := method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
			through, body := sendBytes(t, b.router, request, false)
			direct, want := sendBytes(t, b.cells["cell-1"], request, false)
			if through != direct {
				t.Errorf("%.20q %s: %d %.200s; the cell says %d %.200s", method, path, through, body, direct, want)
			}
		}
	}
	if _, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestGarbageVersionsAndTokensAreRefused: what no apiserver and no router has given out is refused where it is read. What
// a write carries and is no number at all is refused by the cell, in its own words.
func TestGarbageVersionsAndTokensAreRefused(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "garbage")
	name := b.oneOfEach(t, ns)["cell-1"]
	in := "/api/v1/namespaces/" + ns + "/configmaps"
	garbage := []string{"garbage", "-1", "+5", "1e9", " 5", "5 ", "0x10", "٥", "1\x00", "00", strings.Repeat("9", 40), strings.Repeat("9", 5000), "1,2", "null", "{}", "5"}
	for _, version := range garbage {
		escaped := url.QueryEscape(version)
		for what, query := range map[string]string{
			"list": "?resourceVersion=" + escaped, "exact list": "?resourceVersionMatch=Exact&resourceVersion=" + escaped,
			"watch": "?watch=1&timeoutSeconds=1&resourceVersion=" + escaped, "token": "?limit=1&continue=" + escaped,
		} {
			if code, body := get(t, b.router, in+query, ""); code != http.StatusBadRequest && code != http.StatusGone {
				t.Errorf("%s with %.30q: %d %.200s; want 400", what, version, code, body)
			}
		}
		body := fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q,"resourceVersion":%q},"data":{"changed":"yes"}}`, name, version)
		path := in + "/" + name
		options := fmt.Sprintf(`{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"resourceVersion":%q}}`, version)
		for _, write := range []struct{ method, contentType, body string }{
			{http.MethodPut, "application/json", body}, {http.MethodPatch, "application/merge-patch+json", body}, {http.MethodDelete, "application/json", options},
		} {
			code, text := exchange(t, b.router, write.method, path, write.contentType, strings.NewReader(write.body))
			direct, _ := exchange(t, b.cells["cell-1"], write.method, path+"?dryRun=All", write.contentType, strings.NewReader(write.body))
			if code != direct && code != http.StatusBadRequest && code != http.StatusConflict || code < http.StatusBadRequest {
				t.Errorf("%s with %.30q: %d %.200s; want 400, 409 or what the cell says: %d", write.method, version, code, text, direct)
			}
		}
	}
	object, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || object.Data["changed"] != "" {
		t.Errorf("the object was changed or is gone: %v, %v", object.Data, err)
	}
	page, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil || page.Continue == "" {
		t.Fatalf("a page: %v, token %q", err, page.Continue)
	}
	for i := 0; i < len(page.Continue); i += 3 {
		for _, token := range []string{page.Continue[:i], page.Continue[:i] + "A" + page.Continue[i+1:], page.Continue[:i] + "%" + page.Continue[i:]} {
			code, text := get(t, b.router, in+"?limit=1&continue="+url.QueryEscape(token), "")
			if code >= http.StatusInternalServerError {
				t.Errorf("a token changed at %d: %d %.200s", i, code, text)
			}
		}
	}
}

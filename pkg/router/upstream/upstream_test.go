package upstream

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
)

// plane returns the way to a control plane that records the headers of what it is asked.
func plane(t *testing.T, seen *http.Header, code int) *ControlPlane {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, probePath) {
			return
		}
		*seen = r.Header.Clone()
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	c, err := New("cell-1", &rest.Config{Host: server.URL + "/prefix", BearerToken: "the router's"}, nil,
		func(w http.ResponseWriter, _ *http.Request, source string, err error) {
			http.Error(w, source+": "+err.Error(), http.StatusServiceUnavailable)
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func requestAs(name string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/pods?limit=1", nil)
	for header, value := range map[string]string{
		"Authorization":       "Bearer the client's",
		"Impersonate-User":    "root",
		"Impersonate-Group":   "system:masters",
		"Impersonate-Extra-X": "y",
		"X-Remote-User":       "root",
		"X-Remote-Extra-X":    "y",
		"X-Forwarded-For":     "1.2.3.4",
		"Connection":          "Impersonate-User, Authorization",
		"Proxy-Authorization": "x",
		"X-Harmless":          "kept",
		"Accept":              "application/json",
	} {
		r.Header.Set(header, value)
	}
	if name != "" {
		r = r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: name, Groups: []string{"g"}, Extra: map[string][]string{"K/x": {"v"}}}))
	}
	return r
}

// wantIdentity checks that the control plane sees the router's credentials and alice, and nothing that
// the client said about itself.
func wantIdentity(t *testing.T, seen http.Header) {
	t.Helper()
	for header, want := range map[string]string{
		"Authorization": "Bearer the router's", "Impersonate-User": "alice", "Impersonate-Group": "g", "Impersonate-Extra-K%2fx": "v",
		"Impersonate-Extra-X": "", "X-Remote-User": "", "X-Remote-Extra-X": "", "X-Forwarded-For": "", "Connection": "", "Proxy-Authorization": "",
		"Accept": "application/json",
	} {
		if got := seen.Values(header); len(got) > 1 || seen.Get(header) != want {
			t.Errorf("%s = %q; want %q", header, got, want)
		}
	}
}

func TestIdentityIsTheRoutersToSay(t *testing.T) {
	var seen http.Header
	c := plane(t, &seen, http.StatusOK)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, requestAs("alice"))
	wantIdentity(t, seen)
	if seen.Get("X-Harmless") != "kept" {
		t.Error("a harmless header was lost")
	}
	answer, err := c.Do(requestAs("alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	wantIdentity(t, seen)
}

func TestNobodyIsRefused(t *testing.T) {
	seen := http.Header{"Untouched": {"1"}}
	c := plane(t, &seen, http.StatusOK)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, requestAs(""))
	if w.Code != http.StatusServiceUnavailable || seen.Get("Untouched") == "" {
		t.Errorf("answer %d; a request without a user reached the control plane: %v", w.Code, seen)
	}
	if answer, err := c.Do(requestAs("")); err == nil {
		answer.Body.Close()
		t.Error("Do sent a request without a user")
	}
}

func TestRefusedCredentialsAreNotTheClients(t *testing.T) {
	var seen http.Header
	c := plane(t, &seen, http.StatusUnauthorized)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, requestAs("alice"))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("answer %d; want 503: the client's own credentials are good", w.Code)
	}
	w = httptest.NewRecorder()
	r := requestAs("alice")
	r.URL.Path = "/api/v1/namespaces/a/services/x/proxy/login"
	r = r.WithContext(request.WithRequestInfo(r.Context(), &request.RequestInfo{Subresource: "proxy"}))
	c.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("answer %d through a proxy subresource; want the workload's own 401", w.Code)
	}
}

// TestWatchesAreKnownByTheirPlace: a namespace or an object may be called watch, too.
func TestWatchesAreKnownByTheirPlace(t *testing.T) {
	for path, want := range map[string]bool{
		"/api/v1/watch/pods": true, "/apis/apps/v1/watch/namespaces/a/deployments/x": true, "/api/v1/pods?watch=1": true,
		"/api/v1/namespaces/watch/pods/x": false, "/api/v1/namespaces/a/services/watch/status": false,
		"/apis/apps/v1/namespaces/watch/deployments": false, "/apis/watch/v1/things": false, "/apis/g/watch": false,
		"/api/v1/pods?watch=false": false, "/healthz/watch/x": false,
		"/api/v1/pods?watch": true, "/api/v1/pods?limit=1&watch=": true, "/api/v1/pods?watch=yes&%zz": true,
		"/api/v1/pods?watch=False": false, "/api/v1/pods?watch=0&watch=1": false, "/api/v1/pods?labelSelector=watch": false,
	} {
		path, query, _ := strings.Cut(path, "?")
		if got := watches(path, query); got != want {
			t.Errorf("%s?%s is a watch: %v; want %v", path, query, got, want)
		}
	}
}

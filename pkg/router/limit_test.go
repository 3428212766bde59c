package router

import (
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// TestAFullCellLeavesRoomForOthers fills one cell and asks who is let in then.
func TestAFullCellLeavesRoomForOthers(t *testing.T) {
	full := route.Route{Action: route.Forward, Source: "cell-1"}
	rcp := route.Route{Action: route.Forward, Source: route.RCP}
	several := []string{"cell-1", "cell-2"}
	merge, find := route.Route{Action: route.Merge, Sources: several}, route.Route{Action: route.Find, Sources: several}
	tests := map[string]struct {
		method, verb, group string
		to                  route.Route
		want                bool
		// first fills what it is for; nil for full.
		first *route.Route
	}{
		"one more":                 {http.MethodGet, "get", "users", full, false, nil},
		"a write":                  {http.MethodPut, "update", "users", full, true, nil},
		"a stream":                 {http.MethodGet, "watch", "users", full, true, nil},
		"an administrator":         {http.MethodGet, "get", user.SystemPrivilegedGroup, full, true, nil},
		"another cell":             {http.MethodGet, "get", "users", route.Route{Action: route.Forward, Source: "cell-2"}, true, nil},
		"several cells":            {http.MethodGet, "list", "users", route.Route{Action: route.Merge, Sources: []string{"cell-1", "cell-2"}}, true, nil},
		"the router control plane": {http.MethodPost, "create", "users", route.Route{Action: route.Replicate}, true, nil},
		// One cell that hangs fills what has to ask it.
		"a list beside lists":                     {http.MethodGet, "list", "users", merge, false, &merge},
		"an object of another cell, beside lists": {http.MethodGet, "get", "users", find, true, &merge},
		"a list beside objects that are sought":   {http.MethodGet, "list", "users", merge, true, &find},
		"a Lease, beside writes for all cells":    {http.MethodPut, "update", "users", rcp, true, &route.Route{Action: route.Replicate}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &handler{codecs: codecs(), streams: streaming(), inFlight: inFlight{limits: Limits{Reading: 1, Mutating: 1}}}
			admit := func(method, verb, group string, to route.Route) (slot, bool, int) {
				info := &request.RequestInfo{IsResourceRequest: true, Verb: verb, APIVersion: "v1", Resource: "configmaps"}
				r := httptest.NewRequest(method, "/api/v1/configmaps", nil)
				r = r.WithContext(request.WithUser(request.WithRequestInfo(r.Context(), info), &user.DefaultInfo{Name: "x", Groups: []string{group}}))
				w := httptest.NewRecorder()
				taken, ok := h.admit(w, r, info, to)
				return taken, ok, w.Code
			}
			fills := cmp.Or(test.first, &full)
			method := map[bool]string{true: http.MethodPost, false: http.MethodGet}[fills.Action == route.Replicate]
			first, ok, _ := admit(method, "get", "users", *fills)
			if !ok {
				t.Fatal("the first is refused")
			}
			taken, ok, code := admit(test.method, test.verb, test.group, test.to)
			if ok != test.want || !ok && code != http.StatusTooManyRequests {
				t.Errorf("admitted: %v (%d); want %v", ok, code, test.want)
			}
			taken.leave()
			first.leave()
			again, ok, _ := admit(method, "get", "users", *fills)
			if !ok {
				t.Error("refused when all have left")
			}
			again.leave()
		})
	}
}

// TestBodiesThatAreReadEarlyAreCounted: of a create nobody knows its cell before its body is there.
func TestBodiesThatAreReadEarlyAreCounted(t *testing.T) {
	h := &handler{codecs: codecs(), inFlight: inFlight{limits: Limits{Reading: 1, Mutating: 1}}}
	read := func(group string, body io.Reader) error {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/namespaces/a/configmaps", body)
		r = r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: "x", Groups: []string{group}}))
		_, err := h.readEarly(httptest.NewRecorder(), r)
		return err
	}
	slow, send := io.Pipe()
	first := make(chan error)
	go func() { first <- read("users", slow) }()
	if _, err := send.Write([]byte("{")); err != nil { // it is being read
		t.Fatal(err)
	}
	if err := read("users", strings.NewReader("{}")); !apierrors.IsTooManyRequests(err) {
		t.Errorf("a second one: %v; want 429", err)
	}
	if err := read(user.SystemPrivilegedGroup, strings.NewReader("{}")); err != nil {
		t.Errorf("that of an administrator: %v", err)
	}
	_ = send.Close()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := read("users", strings.NewReader("{}")); err != nil {
		t.Errorf("after the first one: %v", err)
	}
}

// TestNobodyElsesTraceIsPassedOn: a control plane would take it for one of the router's own.
func TestNobodyElsesTraceIsPassedOn(t *testing.T) {
	for group, want := range map[string]string{"users": "", user.SystemPrivilegedGroup: "00-x"} {
		r := httptest.NewRequest(http.MethodGet, "/api", nil)
		r.Header.Set("Traceparent", "00-x")
		r = r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: "x", Groups: []string{group}}))
		var got string
		withoutTrace(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Traceparent") })).ServeHTTP(httptest.NewRecorder(), r)
		if got != want {
			t.Errorf("of %s: %q; want %q", group, got, want)
		}
	}
}

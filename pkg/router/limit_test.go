package router

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// TestAFullCellLeavesRoomForOthers fills one cell and asks who is let in then.
func TestAFullCellLeavesRoomForOthers(t *testing.T) {
	full := route.Route{Action: route.Forward, Source: "cell-1"}
	tests := map[string]struct {
		method, verb, group string
		to                  route.Route
		want                bool
	}{
		"one more":                 {http.MethodGet, "get", "users", full, false},
		"a write":                  {http.MethodPut, "update", "users", full, true},
		"a stream":                 {http.MethodGet, "watch", "users", full, true},
		"an administrator":         {http.MethodGet, "get", user.SystemPrivilegedGroup, full, true},
		"another cell":             {http.MethodGet, "get", "users", route.Route{Action: route.Forward, Source: "cell-2"}, true},
		"several cells":            {http.MethodGet, "list", "users", route.Route{Action: route.Merge, Sources: []string{"cell-1", "cell-2"}}, true},
		"the router control plane": {http.MethodPost, "create", "users", route.Route{Action: route.Replicate}, true},
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
			first, ok, _ := admit(http.MethodGet, "get", "users", full)
			if !ok {
				t.Fatal("the first is refused")
			}
			taken, ok, code := admit(test.method, test.verb, test.group, test.to)
			if ok != test.want || !ok && code != http.StatusTooManyRequests {
				t.Errorf("admitted: %v (%d); want %v", ok, code, test.want)
			}
			taken.leave()
			first.leave()
			again, ok, _ := admit(http.MethodGet, "get", "users", full)
			if !ok {
				t.Error("refused when all have left")
			}
			again.leave()
		})
	}
}

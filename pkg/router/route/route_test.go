package route

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

func layout(cells ...string) *v1alpha1.RingLayout {
	l := &v1alpha1.RingLayout{PointsPerWeight: 100}
	for _, cell := range cells {
		l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	return l
}

func snapshot(t *testing.T, current, target *v1alpha1.RingLayout, unavailable ...string) *routing.Snapshot {
	t.Helper()
	ring := &v1alpha1.Ring{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName},
		Status:     v1alpha1.RingStatus{Epoch: 1, Current: current, Target: target, Unavailable: unavailable},
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// decide routes a request line such as "GET /api/v1/pods".
func decide(t *testing.T, snap *routing.Snapshot, line string) Route {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	resolver := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := resolver.NewRequestInfo(httptest.NewRequest(method, target, nil))
	if err != nil {
		t.Fatal(err)
	}
	return Decide(Subject(info), snap)
}

func TestDecide(t *testing.T) {
	snap := snapshot(t, layout("cell-1", "cell-2", "cell-3"), nil)
	all := []string{"cell-1", "cell-2", "cell-3"}
	withRCP := append(slices.Clone(all), RCP)
	owner := func(key string) string { p, _ := snap.Table.LookupKey(key); return p.Old() }
	forward := func(source string) Route { return Route{Action: Forward, Source: source} }
	tests := map[string]Route{
		// What is no resource is the RCP's, and so is what no apiserver understands.
		"GET /api":          forward(RCP),
		"GET /openapi/v3":   forward(RCP),
		"GET /version":      forward(RCP),
		"BREW /api/v1/pods": forward(RCP),

		// Sharded: the key decides.
		"GET /api/v1/namespaces/a/configmaps/x":                                     forward(owner("a/x")),
		"DELETE /api/v1/namespaces/a/configmaps/y":                                  forward(owner("a/y")),
		"PATCH /apis/apps/v1/namespaces/a/deployments/x/scale":                      forward(owner("a/x")),
		"GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx":       forward(owner("a/x")),
		"GET /api/v1/namespaces/a/configmaps?watch=1&fieldSelector=metadata.name=y": forward(owner("a/y")),
		"POST /api/v1/namespaces/a/configmaps":                                      {Action: Place},
		"GET /api/v1/namespaces/a/configmaps":                                       {Action: Merge, Sources: all},
		"DELETE /api/v1/namespaces/a/configmaps":                                    {Action: Merge, Sources: all},
		"GET /api/v1/configmaps":                                                    {Action: Merge, Sources: withRCP},
		"GET /api/v1/configmaps?fieldSelector=metadata.name=x":                      {Action: Merge, Sources: withRCP},

		// A proxy's path has scheme and port in the name.
		"GET /api/v1/namespaces/a/services/x/proxy/orders":          forward(owner("a/x")),
		"GET /api/v1/namespaces/a/services/x:80/proxy/orders":       forward(owner("a/x")),
		"POST /api/v1/namespaces/a/services/https:x:web/proxy":      forward(owner("a/x")),
		"GET /api/v1/namespaces/a/services/x:80":                    forward(owner("a/x:80")),
		"GET /api/v1/namespaces/a/services/ftp:x:80/proxy":          forward(owner("a/ftp:x:80")),
		"GET /apis/example.com/v1/namespaces/a/services/x:80/proxy": forward(RCP),

		// The system's namespaces are the RCP's, whatever the resource.
		"GET /api/v1/namespaces/kube-system/configmaps/x":        forward(RCP),
		"POST /api/v1/namespaces/kubecell-system/secrets":        forward(RCP),
		"GET /apis/kubecell.io/v1alpha1/rings/default":           forward(RCP),
		"PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/x": forward(RCP),

		// Replicated: read at the source, written everywhere.
		"GET /api/v1/namespaces/a":                                forward(RCP),
		"GET /api/v1/namespaces":                                  forward(RCP),
		"POST /api/v1/namespaces":                                 {Action: Replicate},
		"DELETE /api/v1/namespaces/a":                             {Action: Replicate},
		"PUT /api/v1/namespaces/a/finalize":                       forward(RCP),
		"POST /api/v1/namespaces/a/serviceaccounts/x/token":       forward(RCP),
		"PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/x": {Action: Replicate},

		// Local: made where the namespace hashes to, found by asking, that cell first.
		"POST /api/v1/namespaces/a/pods":      {Action: Place},
		"GET /api/v1/namespaces/a/events":     {Action: Merge, Sources: all},
		"GET /api/v1/namespaces/a/pods/x":     {Action: Find, Sources: likeliestFirst(all, owner("a"))},
		"GET /api/v1/namespaces/a/pods/y/log": {Action: Find, Sources: likeliestFirst(all, owner("a"))},

		// But for what each control plane makes for itself, which is read where its Service is.
		"GET /api/v1/namespaces/default/services/kubernetes":                                      forward(owner("default/kubernetes")),
		"GET /api/v1/namespaces/default/endpoints/kubernetes":                                     forward(owner("default/kubernetes")),
		"DELETE /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes":           forward(owner("default/kubernetes")),
		"GET /api/v1/namespaces/default/endpoints?watch=1&fieldSelector=metadata.name=kubernetes": forward(owner("default/kubernetes")),
		"POST /api/v1/namespaces/default/endpoints":                                               {Action: Place},
		"GET /api/v1/namespaces/default/endpoints":                                                {Action: Merge, Sources: all},
		"GET /api/v1/endpoints?fieldSelector=metadata.name=kubernetes":                            {Action: Merge, Sources: withRCP},
		"GET /api/v1/namespaces/default/endpoints/web":                                            {Action: Find, Sources: likeliestFirst(all, owner("default"))},
		"GET /api/v1/namespaces/a/endpoints/kubernetes":                                           {Action: Find, Sources: likeliestFirst(all, owner("a"))},
	}
	for line, want := range tests {
		if diff := cmp.Diff(want, decide(t, snap, line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// likeliestFirst swaps one source with the first.
func likeliestFirst(sources []string, first string) []string {
	out := slices.Clone(sources)
	i := slices.Index(out, first)
	out[0], out[i] = out[i], out[0]
	return out
}

func TestDecideAKeyThatMoves(t *testing.T) {
	snap := snapshot(t, layout("cell-1"), layout("cell-2"))
	both := []string{"cell-1", "cell-2"}
	for line, want := range map[string]Action{
		"GET /api/v1/namespaces/a/configmaps/x":                                       Move,
		"PUT /apis/apps/v1/namespaces/a/deployments/x/scale":                          Move,
		"GET /api/v1/namespaces/default/endpoints/kubernetes":                         Move,
		"GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx":         Merge,
		"GET /api/v1/namespaces/a/configmaps?watch=1&fieldSelector=metadata.name%3Dx": Merge,
		"DELETE /api/v1/namespaces/a/configmaps":                                      Merge,
	} {
		if diff := cmp.Diff(Route{Action: want, Sources: both}, decide(t, snap, line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestDecideRefuses(t *testing.T) {
	tests := map[string]struct {
		snap *routing.Snapshot
		code int32
		says string
	}{
		"before the first layout":     {snapshot(t, nil, nil), http.StatusServiceUnavailable, "no cells"},
		"a cell that was failed over": {snapshot(t, layout("cell-1"), nil, "cell-1"), http.StatusServiceUnavailable, "cell-1"},
	}
	for name, test := range tests {
		got := decide(t, test.snap, "GET /api/v1/namespaces/a/configmaps/x")
		if got.Action != Refuse {
			t.Errorf("%s: %v; want a refusal", name, got)
			continue
		}
		status := got.Refusal.Status()
		if status.Code != test.code || !strings.Contains(status.Message, test.says) || status.Details.RetryAfterSeconds != RetryAfterSeconds {
			t.Errorf("%s: %+v; want %d, a message with %q, and when to retry", name, status, test.code, test.says)
		}
	}
}

func TestVisible(t *testing.T) {
	snap := snapshot(t, layout("cell-1"), nil)
	for _, tc := range []struct {
		resource, namespace, source string
		want                        bool
	}{
		{"configmaps", "a", "cell-1", true},
		{"configmaps", "a", "cell-2", false},
		{"configmaps", "a", RCP, false},
		{"configmaps", "kube-system", RCP, true},
		{"configmaps", "kube-system", "cell-1", false},
		{"events", "a", "cell-1", true},
		{"events", "a", "cell-2", true},
		{"events", "a", RCP, false},
		{"events", "kube-system", RCP, true},
		{"events", "kube-system", "cell-1", false},
		{"namespaces", "", RCP, true},
		{"namespaces", "", "cell-1", false},
	} {
		if got := Visible("", tc.resource, tc.namespace, "x", tc.source, snap); got != tc.want {
			t.Errorf("%s in %q of %s: visible is %v, want %v", tc.resource, tc.namespace, tc.source, got, tc.want)
		}
	}
	if Visible("", "configmaps", "a", "x", "cell-1", snapshot(t, nil, nil)) {
		t.Error("something is visible before the first layout")
	}
}

// TestWhatEachCellMakesIsVisibleInOne: all that is about the apiserver's own Service in the same one.
func TestWhatEachCellMakesIsVisibleInOne(t *testing.T) {
	cells := []string{"cell-1", "cell-2", "cell-3"}
	snap := snapshot(t, layout(cells...), nil)
	home, _ := snap.Table.LookupKey("default/kubernetes")
	for resource, group := range map[string]string{"services": "", "endpoints": "", "endpointslices": "discovery.k8s.io"} {
		for _, source := range append(cells, RCP) {
			if got, want := Visible(group, resource, "default", "kubernetes", source, snap), source == home.Old(); got != want {
				t.Errorf("%s in %s: visible is %v, want %v", resource, source, got, want)
			}
		}
		info := &request.RequestInfo{APIGroup: group, Resource: resource, Namespace: "default", Name: "kubernetes"}
		if HasNoPlace(info, snap) {
			t.Errorf("%s may be in any cell, it says", resource)
		}
	}
	moving := snapshot(t, layout("cell-1"), layout("cell-2"))
	moving.Phase = v1alpha1.RingRebalancing
	if from, moves := Moves("", "endpoints", "default", "kubernetes", moving); !moves || from != "cell-1" {
		t.Errorf("it moves from %q: %v; want from cell-1", from, moves)
	}
}

package feed

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

func noAnswer(http.ResponseWriter, *http.Request, string, error) {}

func savedCell(t *testing.T, name, server string) routing.SavedCell {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: server}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "t"}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "c"
	data, err := clientcmd.Write(*c)
	if err != nil {
		t.Fatal(err)
	}
	return routing.SavedCell{Cell: v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: name}}, Kubeconfig: data}
}

func ring() *v1alpha1.Ring {
	return &v1alpha1.Ring{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName},
		Status: v1alpha1.RingStatus{Epoch: 1, Current: &v1alpha1.RingLayout{
			Members: []v1alpha1.RingMember{{Cell: "cell-1", Weight: 100}}, PointsPerWeight: 1,
		}},
	}
}

func mustState(t *testing.T, saved []routing.SavedCell, previous *State) *State {
	t.Helper()
	rcp, err := upstream.New(route.RCP, &rest.Config{Host: "https://127.0.0.1:1"}, nil, noAnswer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rcp.Close)
	s, err := newState(ring(), saved, rcp, previous, noAnswer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.closeUnused(nil) })
	return s
}

func mustPlane(t *testing.T, s *State, name string) *upstream.ControlPlane {
	t.Helper()
	plane, err := s.ControlPlane(name)
	if err != nil {
		t.Fatal(err)
	}
	return plane
}

func TestConnectionsOutliveAChangeOfTheRing(t *testing.T) {
	one, two := savedCell(t, "cell-1", "https://127.0.0.1:1"), savedCell(t, "cell-2", "https://127.0.0.1:2")
	before := mustState(t, []routing.SavedCell{one, two}, nil)
	after := mustState(t, []routing.SavedCell{one, savedCell(t, "cell-2", "https://127.0.0.1:3")}, before)
	if mustPlane(t, before, "cell-1") != mustPlane(t, after, "cell-1") {
		t.Error("cell-1 did not change and lost its connections")
	}
	if mustPlane(t, before, "cell-2") == mustPlane(t, after, "cell-2") {
		t.Error("cell-2 moved and kept its old connections")
	}
	if mustPlane(t, after, route.RCP) == nil {
		t.Error("no way to the RCP")
	}
}

func TestGarbageNeverReplacesGoodCredentials(t *testing.T) {
	good := savedCell(t, "cell-1", "https://127.0.0.1:1")
	before := mustState(t, []routing.SavedCell{good}, nil)
	for name, kubeconfig := range map[string]string{"garbage": "{", "nothing": "", "a program": "users: [{name: u, user: {exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}}}]"} {
		bad := good
		bad.Kubeconfig = []byte(kubeconfig)
		after := mustState(t, []routing.SavedCell{bad}, before)
		if mustPlane(t, after, "cell-1") != mustPlane(t, before, "cell-1") {
			t.Errorf("%s: the cell lost its good connection", name)
		}
		if saved := after.Saved(); len(saved) != 1 || string(saved[0].Kubeconfig) != string(good.Kubeconfig) {
			t.Errorf("%s: what is kept on disk is not the good one: %v", name, saved)
		}
		if len(after.Broken()) != 1 {
			t.Errorf("%s: Broken = %v; want one reason", name, after.Broken())
		}
		// And once more, when the good one is that of two states ago.
		if again := mustState(t, []routing.SavedCell{bad}, after); mustPlane(t, again, "cell-1") != mustPlane(t, before, "cell-1") {
			t.Errorf("%s: the good connection was lost at the second change", name)
		}
	}
}

func TestACellThatNeverWorkedSaysWhy(t *testing.T) {
	bad := savedCell(t, "cell-1", "https://127.0.0.1:1")
	bad.Kubeconfig = nil
	s := mustState(t, []routing.SavedCell{bad}, nil)
	if _, err := s.ControlPlane("cell-1"); err == nil || !strings.Contains(err.Error(), "holds no kubeconfig") {
		t.Errorf("ControlPlane = %v; want the reason", err)
	}
	if _, err := s.ControlPlane("cell-2"); err == nil || s.HasCell("cell-2") || !s.HasCell("cell-1") {
		t.Errorf("an unknown cell: %v", err)
	}
}

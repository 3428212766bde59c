package backup_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

const cellPath = "/apis/kubecell.io/v1alpha1/cells/cell-1"

// TestReplicatedCondition follows the condition of a cell through a loss of the cell, and a copy that cannot be
// repaired. It is written when it changes and not otherwise, nor by a daemon that takes over.
func TestReplicatedCondition(t *testing.T) {
	rcp, cell := sides(t)
	clients := cellClient(t, rcp)
	gate := sandboxtest.NewGate(t, cell.Host)
	setEndpoints(t, clients, gate.URL())
	t.Cleanup(func() { setEndpoints(t, clients) })
	first := start(t, rcp, "first")
	awaitReplicated(t, clients, metav1.ConditionTrue, "Compared", "every copy is as its source")

	gate.Refuse()
	awaitReplicated(t, clients, metav1.ConditionFalse, "CellUnreachable", "")
	gate.Pass()
	awaitReplicated(t, clients, metav1.ConditionTrue, "Compared", "")

	ns, err := kube(t, rcp).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "somebody-elses-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	markCopy(t, cell, ns.Name, `"another"`)
	awaitReplicated(t, clients, metav1.ConditionFalse, "RepairsFail", "namespaces "+ns.Name)
	first.stop()
	second := start(t, rcp, "second")
	awaitHolder(t, rcp, "second")
	wantWork(t, rcp, cell, "meanwhile")
	await(t, "the second daemon to compare what it finds with the condition", func(context.Context) (bool, error) {
		return second.asked.count("GET "+cellPath) > 0, nil
	})
	wantWork(t, rcp, cell, "afterwards")
	second.stop()
	if n := second.asked.count("PATCH " + cellPath + "/status by kubecell-backup"); n > 0 {
		t.Errorf("the second daemon wrote %d times what was there", n)
	}
	// An earlier test may have left the first of the four, and on a busy machine what fails for a moment is told, and its end.
	if n := first.asked.count("PATCH " + cellPath + "/status by kubecell-backup"); n < 3 || n > 6 {
		t.Errorf("the first daemon wrote %d times; want about once for each of four changes", n)
	}

	markCopy(t, cell, ns.Name, "null") // an administrator takes it over
	start(t, rcp, "third")
	awaitReplicated(t, clients, metav1.ConditionTrue, "Compared", "")
}

func cellClient(t *testing.T, rcp *rest.Config) *client.Client {
	t.Helper()
	out, err := client.New(rcp)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func getCell(t *testing.T, clients *client.Client) *v1alpha1.Cell {
	t.Helper()
	cell, err := clients.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cell
}

func setEndpoints(t *testing.T, clients *client.Client, endpoints ...string) {
	t.Helper()
	patch := `{"spec":{"endpoints":null}}`
	if len(endpoints) > 0 {
		patch = `{"spec":{"endpoints":["` + strings.Join(endpoints, `","`) + `"]}}`
	}
	if _, err := clients.Cells().Patch(context.Background(), "cell-1", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
}

// markCopy says in the cell which source a namespace is the copy of.
func markCopy(t *testing.T, cell *rest.Config, name, source string) {
	t.Helper()
	copies := kube(t, cell).CoreV1().Namespaces()
	await(t, "the copy of "+name, func(ctx context.Context) (bool, error) {
		_, err := copies.Get(ctx, name, metav1.GetOptions{})
		return err == nil, nil
	})
	patch := `{"metadata":{"annotations":{"` + v1alpha1.AnnotationReplicatedFrom + `":` + source + `}}}`
	if _, err := copies.Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitReplicated waits for the condition; its message has to contain the words.
func awaitReplicated(t *testing.T, clients *client.Client, status metav1.ConditionStatus, reason, words string) {
	t.Helper()
	await(t, "Replicated to be "+string(status)+" because of "+reason, func(context.Context) (bool, error) {
		got := meta.FindStatusCondition(getCell(t, clients).Status.Conditions, v1alpha1.ConditionReplicated)
		return got != nil && got.Status == status && got.Reason == reason && strings.Contains(got.Message, words), nil
	})
}

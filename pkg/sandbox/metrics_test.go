package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestThePageOfMetricsIsWhatDaemonsExport scrapes a router and a backup daemon on a good and on a bad day, and compares
// names, types, labels and meanings with docs/metrics.md. The alerts and the dashboard in config/monitoring are
// compared with that page, by test/monitoring.
func TestThePageOfMetricsIsWhatDaemonsExport(t *testing.T) {
	page := metricsOfThePage(t)
	// It takes a flood to have this one; pkg/router/metrics compares it.
	delete(page, "kubecell_router_requests_refused_total")
	s := federation.Sandbox(t)
	urls := adminPorts(t, s)
	found := map[string]string{}
	scraped := func(names ...string) {
		t.Helper()
		await(t, fmt.Sprint(names), func(context.Context) (bool, error) {
			for _, url := range urls {
				for name, row := range scrape(t, url) {
					found[name] = row
				}
			}
			return !slices.ContainsFunc(names, func(n string) bool { return found[n] == "" }), nil
		})
	}
	clients := kube(t, s.Router(t))
	const namespace = "metrics"
	createNamespace(t, clients, namespace)
	createDeployments(t, clients, namespace, "good")
	watch, err := clients.AppsV1().Deployments(namespace).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	awaitProtected(t, s, deployments)
	if err := clients.AppsV1().Deployments(namespace).Delete(t.Context(), "good-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	scraped("kubecell_backup_envelopes_deleted_total", "kubecell_backup_rehearsals_total", "kubecell_router_watch_events_total")

	for _, url := range urls {
		for _, certificate := range []string{`{credential="cell-1",kind="client"} `, `{credential="cell-2",kind="ca"} `, `{credential="@rcp",kind="client"} `} {
			if series := "kubecell_certificate_expiration_timestamp_seconds" + certificate; !strings.Contains(pageOf(t, url), series) {
				t.Errorf("%s has no %s", url, series)
			}
		}
	}

	cell := kube(t, s.Cell(t, "cell-1"))
	meddle(t, clients, cell)
	scraped("kubecell_backup_envelopes_remade_total", "kubecell_replication_repairs_total")

	chaos(t, s, "cell-2", sandbox.Kill, true)
	defer chaos(t, s, "cell-2", sandbox.Restart, true)
	createNamespace(t, clients, "metrics-on-a-bad-day")
	createDeployments(t, clients, namespace, "bad")
	scraped("kubecell_backup_failures_total", "kubecell_replication_failures_total")

	for name, want := range page {
		if got := found[name]; got != want {
			t.Errorf("docs/metrics.md:\n%s\ndaemons:\n%s", want, got)
		}
	}
	for name, got := range found {
		if page[name] == "" {
			t.Errorf("docs/metrics.md lacks\n%s", got)
		}
	}
}

func createNamespace(t *testing.T, clients kubernetes.Interface, name string) {
	t.Helper()
	if _, err := clients.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := clients.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete namespace %s: %v", name, err)
		}
	})
}

const deployments = 16

// awaitProtected waits until the cells hold at least so many envelopes.
func awaitProtected(t *testing.T, s *sandboxtest.Sandbox, want int) {
	t.Helper()
	await(t, "all to be backed up", func(ctx context.Context) (bool, error) {
		found := 0
		for _, cell := range []string{"cell-1", "cell-2"} {
			envelopes, err := kube(t, s.Cell(t, cell)).CoreV1().Secrets(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell})
			if err != nil {
				return false, err
			}
			found += len(envelopes.Items)
		}
		return found >= want, nil
	})
}

// createDeployments makes enough of them that each of two cells has some, as far as the cells answer.
func createDeployments(t *testing.T, clients kubernetes.Interface, namespace, prefix string) {
	t.Helper()
	labels := map[string]string{"app": prefix}
	for i := range deployments {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", prefix, i)}, Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}}},
		}}
		if _, err := clients.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil && !apierrors.IsServiceUnavailable(err) {
			t.Fatal(err)
		}
	}
}

// meddle deletes, in a cell, what the backup daemon has made there: its envelopes, and a copy.
func meddle(t *testing.T, clients, cell kubernetes.Interface) {
	t.Helper()
	err := cell.CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell})
	if err != nil {
		t.Fatal(err)
	}
	roles := clients.RbacV1().ClusterRoles()
	if _, err := roles.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "metrics"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := roles.Delete(context.Background(), "metrics", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	await(t, "the copy to be there, and deleted", func(ctx context.Context) (bool, error) {
		return cell.RbacV1().ClusterRoles().Delete(ctx, "metrics", metav1.DeleteOptions{}) == nil, nil
	})
}

// adminPorts are those of the sandbox's router, by its Lease, and of its backup daemon, by its log.
func adminPorts(t *testing.T, s *sandboxtest.Sandbox) []string {
	t.Helper()
	leases, err := kube(t, s.RCP(t)).CoordinationV1().Leases(v1alpha1.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if err != nil || len(leases.Items) != 1 {
		t.Fatalf("leases of routers: %v, %v", leases, err)
	}
	log, err := os.ReadFile(s.Status(t).Backup.Log)
	if err != nil {
		t.Fatal(err)
	}
	ready := regexp.MustCompile(`(?m)^ready (http://\S+)$`).FindSubmatch(log)
	if ready == nil {
		t.Fatalf("the log of the backup daemon does not say where it is ready: %s", log)
	}
	return []string{leases.Items[0].Annotations[v1alpha1.AnnotationAdminURL], string(ready[1])}
}

// pageOf is what a daemon exports.
func pageOf(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// scrape are the rows of docs/metrics.md for what a daemon exports, by name.
func scrape(t *testing.T, url string) map[string]string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(pageOf(t, url)))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for name, family := range families {
		if strings.HasPrefix(name, "kubecell_") {
			rows[name] = row(family)
		}
	}
	return rows
}

func row(family *dto.MetricFamily) string {
	var labels []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		labels = append(labels, "`"+label.GetName()+"`")
	}
	slices.Sort(labels)
	return fmt.Sprintf("| `%s` | %s | %s | %s |", family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
}

// metricsOfThePage are the rows of docs/metrics.md, by name.
func metricsOfThePage(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, match := range regexp.MustCompile("(?m)^\\| `(kubecell_\\w+)` .*$").FindAllStringSubmatch(string(page), -1) {
		rows[match[1]] = match[0]
	}
	return rows
}

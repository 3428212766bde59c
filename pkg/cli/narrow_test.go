//go:build linux

package cli_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	narrowNamespace = "narrow"
	narrowRun       = "r-narrow"
	narrowReason    = "支付迁移到新的单元"
)

// narrowTable is a command that prints a table, on a terminal of 40 columns.
type narrowTable struct {
	// file below this folder makes the table.
	file          string
	command, code string
	// shows is on the screen, in lines, and whole once the breaks of the terminal are taken out.
	shows, whole []string
	given        func(t *testing.T)
}

// narrowElsewhere are the files whose tables other tests have at 40 columns.
func narrowElsewhere() map[string]string {
	return map[string]string{
		"overview/table.go": "TestTablesOnANarrowTerminal", "top/top.go": "TestTablesOnANarrowTerminal", "explain/explain.go": "TestTablesOnANarrowTerminal",
		"get/watch.go": "TestTablesOnANarrowTerminal", "sandbox/ls.go": "TestListOnANarrowTerminal", "launch/backups.go": "TestBackupsOnANarrowTerminal",
	}
}

// TestEveryTableOnANarrowTerminal has names as long as Kubernetes has them, and wide characters, in the table of every command.
func TestEveryTableOnANarrowTerminal(t *testing.T) {
	p := newPerson(t, newBed(t))
	long, stray, router := longName(t, "cell-1", "cell-3", 0), longName(t, "cell-1", "cell-3", 1), "router-"+strings.Repeat("r", 53)
	p.configMap(t, "cell-1", long)
	p.narrowEvent(t)
	p.narrowRecord(t, long)
	p.must(t, "weight", "cell-3", "200")
	t.Cleanup(func() { p.must(t, "weight", "cell-3", "100") })
	in := " -n " + narrowNamespace
	tables := []narrowTable{
		{"get/workloads.go", "get workloads" + in, "0", []string{"WORKLOAD: narrow/app-", "CELL:     cell-1"}, []string{"narrow/" + long}, nil},
		{"where/print.go", "where configmaps/narrow/" + long + " --live", "0", []string{"WORKLOAD: configmaps/narrow/app-", "LIVE:     ok"}, []string{"narrow/" + long}, nil},
		{"events/table.go", "events" + in, "0", []string{
			"OBJECT:    部署/checkout", "MESSAGE:   镜像拉取失败 镜像拉取失败 从", "           registry.example 没有回答",
		}, nil, nil},
		{"history/history.go", "history -o wide", "0", []string{"NAME:    " + narrowRun, "REASON:  " + narrowReason}, nil, nil},
		{"rebalance/status.go", "rebalance status " + narrowRun, "0", []string{"FROM:     cell-1", "INFLIGHT: 1"}, []string{"narrow/" + long + "  copy, attempt 3: 没有回答"}, nil},
		{"rebalance/plan.go", "rebalance --dry-run" + in, "0", []string{"UNIT:    narrow/app-", "TO:      cell-3"}, []string{"narrow/" + long}, nil},
		{"simulate/report.go", "simulate --workloads 1k --cells 2 -o wide", "0", []string{"CELL:     cell-2", "EXPECTED: 50.0%"}, nil, nil},
		{"diff/print.go", "diff" + in, "1", []string{`FROM \ TO   cell-3   stays`}, nil, nil},
		{"diff/print.go", "diff --per-namespace" + in, "1", []string{"NAMESPACE:        narrow", "BACKUPS RE-HOMED: "}, nil, nil},
		{"status/text.go", "status", "0", []string{"ROUTER: router-r", "SEEN:   "}, []string{router}, func(t *testing.T) {
			p.registered(t, router)
		}},
		{"launch/status.go", "router status", "0", []string{"NAME:    router", "STATE:   Down"}, nil, nil},
		{"backup/verify.go", "backup verify", "3", []string{"PROBLEM: Missing"}, []string{"narrow/" + long}, nil},
		{"verify/print.go", "verify" + in, "3", []string{"CLASS:  misplaced", "OBJECT: configmaps"}, []string{"narrow/" + stray}, func(t *testing.T) {
			p.configMap(t, "cell-3", stray)
		}},
	}
	for _, test := range tables {
		t.Run(test.command, func(t *testing.T) {
			if test.given != nil {
				test.given(t)
			}
			screen := p.types(t, 40, 800, "kubectl-cell "+test.command)
			text := wantLeft(t, screen, test.code)
			for _, line := range test.shows {
				if !strings.Contains(text, "\n"+line) {
					t.Errorf("no line begins with %q:\n%s", line, text)
				}
			}
			for _, whole := range test.whole {
				if !strings.Contains(unwrapped(text), whole) {
					t.Errorf("%q is not whole:\n%s", whole, text)
				}
			}
			if strings.ContainsRune(text, utf8.RuneError) {
				t.Errorf("a character is cut:\n%s", text)
			}
		})
	}
	covered := narrowElsewhere()
	for _, test := range tables {
		covered[test.file] = t.Name()
	}
	if diff := cmp.Diff(tableFiles(t), slices.Sorted(maps.Keys(covered))); diff != "" {
		t.Errorf("files that make tables (-are there +have a test at 40 columns):\n%s", diff)
	}
}

// tableFiles are the files below this folder that make a table.
func tableFiles(t *testing.T) (out []string) {
	t.Helper()
	makes := regexp.MustCompile(`layout\.Table\(|printers\.Table\{`)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if makes.Match(source) {
			out = append(out, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// longName is a name as long as they get of an object that a weight of 200 moves from a cell to cell-3; there are several.
func longName(t *testing.T, from, to string, which int) string {
	t.Helper()
	current, err := placement.NewRing(members(100), bedPoints)
	if err != nil {
		t.Fatal(err)
	}
	target, err := placement.NewRing(members(200), bedPoints)
	if err != nil {
		t.Fatal(err)
	}
	table := placement.NewTable(current, target)
	for i := 100; i < 1000; i++ {
		name := fmt.Sprintf("app-%d-", i)
		name += strings.Repeat("a", 253-len(name))
		if p, _ := table.Lookup(placement.NamespacedName, narrowNamespace, name); p.Old() != from || p.New() != to {
			continue
		}
		if which == 0 {
			return name
		}
		which--
	}
	t.Fatal("no name is placed like that")
	return ""
}

// configMap makes one in a cell, and its namespace where that is missing, until the test ends.
func (p *person) configMap(t *testing.T, cell, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	object := func(kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name}}}
	}
	namespaces := p.b.planes[cell].Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	if _, err := namespaces.Create(ctx, object("Namespace", narrowNamespace), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	configMaps := p.b.planes[cell].Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(narrowNamespace)
	if _, err := configMaps.Create(ctx, object("ConfigMap", name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configMaps.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// narrowEvent makes an event of a kind that is written in wide characters.
func (p *person) narrowEvent(t *testing.T) {
	t.Helper()
	now := metav1.Now().UTC().Format("2006-01-02T15:04:05Z")
	events := p.b.planes["cell-1"].Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(narrowNamespace)
	_, err := events.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": "narrow"},
		"involvedObject": map[string]any{"kind": "部署", "name": "checkout", "namespace": narrowNamespace},
		"type":           "Warning", "reason": "拉取失败", "message": "镜像拉取失败 镜像拉取失败 从 registry.example 没有回答",
		"firstTimestamp": now, "lastTimestamp": now,
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := events.Delete(ctx, "narrow", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// narrowRecord leaves the record of a rebalance that has ended, until the test ends.
func (p *person) narrowRecord(t *testing.T, failed string) {
	t.Helper()
	ctx, runs := context.WithoutCancel(t.Context()), p.b.client.Rebalances()
	run, err := runs.Create(ctx, &v1alpha1.Rebalance{
		ObjectMeta: metav1.ObjectMeta{Name: narrowRun},
		Spec:       v1alpha1.RebalanceSpec{Window: 1, Order: &v1alpha1.Order{By: "somebody", Reason: narrowReason}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runs.Delete(ctx, narrowRun, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	run.Status = v1alpha1.RebalanceProgress{
		Phase: v1alpha1.RebalanceSucceeded, FromEpoch: 1, ToEpoch: 5,
		Pairs: []v1alpha1.PairProgress{{From: "cell-1", To: "cell-2", Total: 12345, Moved: 12344, InFlight: 1, Failed: 1}},
		Failures: []v1alpha1.UnitFailure{
			{Key: narrowNamespace + "/" + failed, From: "cell-1", To: "cell-2", Step: "copy", Message: "没有回答", Attempts: 3},
		},
	}
	if _, err := runs.UpdateStatus(ctx, run, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// registered is a router that lives, as far as its Lease tells, until the test ends.
func (p *person) registered(t *testing.T, name string) {
	t.Helper()
	ctx, leases := context.WithoutCancel(t.Context()), p.b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	_, err := leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{v1alpha1.LabelComponent: "router"}, Annotations: map[string]string{v1alpha1.AnnotationEpoch: "1"},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: ptr.To(int32(120)), RenewTime: ptr.To(metav1.NowMicro())},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leases.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

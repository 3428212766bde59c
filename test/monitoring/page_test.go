package monitoring_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// root of the repository.
const root = "../.."

// page are the series of docs/metrics.md, and those of the Go client and of Prometheus that are used here: their
// labels, without instance and job, by name.
type page map[string][]string

func readPage(t *testing.T) page {
	t.Helper()
	data, err := os.ReadFile(root + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	series := page{"process_cpu_seconds_total": nil, "process_resident_memory_bytes": nil, "go_goroutines": nil}
	label := regexp.MustCompile("`(\\w+)`")
	rows := regexp.MustCompile("(?m)^\\| `(kubecell_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(data), -1)
	if len(rows) < 20 {
		t.Fatalf("docs/metrics.md has %d metrics", len(rows))
	}
	for _, row := range rows {
		name, kind := row[1], row[2]
		var names []string
		for _, m := range label.FindAllStringSubmatch(row[3], -1) {
			names = append(names, m[1])
		}
		if kind != "histogram" {
			series[name] = names
			continue
		}
		series[name+"_bucket"] = append(slices.Clone(names), "le")
		series[name+"_sum"], series[name+"_count"] = names, names
	}
	return series
}

// check says what is wrong with an expression: it does not parse, or asks for a series or a label that nobody exports.
// On success it gives the labels of what the expression answers, as far as they come from groups and selectors.
func (p page) check(expr string) ([]string, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	return p.labelsOf(e)
}

// labelsOf walks down from e, which answers with those labels.
func (p page) labelsOf(e parser.Node) ([]string, error) {
	var inner []string
	for node := range parser.ChildrenIter(e) {
		below, err := p.labelsOf(node)
		if err != nil {
			return nil, err
		}
		inner = append(inner, below...)
	}
	switch e := e.(type) {
	case *parser.VectorSelector:
		return p.selector(e)
	case *parser.AggregateExpr:
		if e.Op == parser.TOPK {
			return inner, nil
		}
		for _, name := range e.Grouping {
			if !slices.Contains(inner, name) {
				return nil, fmt.Errorf("%s groups by %s, which its metrics do not have", e, name)
			}
		}
		return e.Grouping, nil
	case *parser.Call:
		if e.Func.Name == "histogram_quantile" && !slices.Contains(inner, labels.BucketLabel) {
			return nil, fmt.Errorf("%s has no le", e)
		}
		if e.Func.Name == "absent" {
			return nil, nil
		}
	}
	return inner, nil
}

func (p page) selector(s *parser.VectorSelector) ([]string, error) {
	known, ok := p[s.Name]
	if !ok {
		return nil, fmt.Errorf("nobody exports %s", s.Name)
	}
	known = append(slices.Clone(known), model.InstanceLabel, model.JobLabel)
	for _, m := range s.LabelMatchers {
		if m.Name != model.MetricNameLabel && !slices.Contains(known, m.Name) {
			return nil, fmt.Errorf("%s has no label %s", s.Name, m.Name)
		}
	}
	return known, nil
}

// TestWhatIsRefused keeps the checks from letting everything through.
func TestWhatIsRefused(t *testing.T) {
	p := readPage(t)
	for expr, want := range map[string]string{
		`sum(kubecell_router_ring_epoch`:                                   "parse error",
		`kubecell_router_epoch > 1`:                                        "nobody exports kubecell_router_epoch",
		`kubecell_router_cell_up{cluster="a"}`:                             "has no label cluster",
		`sum by (verb) (kubecell_router_cell_up)`:                          "groups by verb",
		`histogram_quantile(0.9, sum by (cell) (kubecell_router_cell_up))`: "has no le",
		`rate(kubecell_router_own_duration_seconds[5m])`:                   "nobody exports",
	} {
		if _, err := p.check(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", expr, err, want)
		}
	}
}

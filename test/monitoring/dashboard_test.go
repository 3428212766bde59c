package monitoring_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what is checked of Grafana's form of one.
type dashboard struct {
	UID, Title string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ UID string }
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

// TestDashboard: each panel asks for what is exported, shows labels that it has, and lies on no other.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile(root + "/config/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || len(d.Panels) < 20 {
		t.Fatalf("uid %q, title %q, %d panels", d.UID, d.Title, len(d.Panels))
	}
	p := readPage(t)
	ids := map[int]string{}
	for i, panel := range d.Panels {
		if other := ids[panel.ID]; other != "" || panel.ID == 0 {
			t.Errorf("%s and %s have the id %d", panel.Title, other, panel.ID)
		}
		ids[panel.ID] = panel.Title
		for _, other := range d.Panels[:i] {
			if panel.overlaps(other) {
				t.Errorf("%s lies on %s", panel.Title, other.Title)
			}
		}
		if panel.Type != "row" {
			panel.check(t, p)
		}
	}
	d.checkVariables(t, p)
}

func (a panel) overlaps(b panel) bool {
	p, q := a.GridPos, b.GridPos
	return p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H || p.X+p.W > 24
}

func (a panel) check(t *testing.T, p page) {
	t.Helper()
	if a.Datasource.UID != "${datasource}" || len(a.Targets) == 0 {
		t.Errorf("%s: data source %q, %d queries", a.Title, a.Datasource.UID, len(a.Targets))
	}
	for _, target := range a.Targets {
		expr := strings.NewReplacer("$__rate_interval", "5m", "$cell", "cell-1").Replace(target.Expr)
		names, err := p.check(expr)
		if err != nil {
			t.Errorf("%s: %v", a.Title, err)
		}
		for _, m := range templateLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s: the legend shows %s, which %s does not answer", a.Title, m[1], target.Expr)
			}
		}
	}
}

// checkVariables wants the variables that panels use, and those of Prometheus to be values of labels that are exported.
func (d dashboard) checkVariables(t *testing.T, p page) {
	t.Helper()
	var names []string
	values := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(v.Definition)
		if m == nil || !slices.Contains(p[m[1]], m[2]) {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
		}
	}
	if !slices.Equal(names, []string{"datasource", "cell"}) {
		t.Errorf("variables %v", names)
	}
}

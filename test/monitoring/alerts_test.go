package monitoring_test

import (
	"log/slog"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// templateLabel is a label in the text of an alert or of a legend.
var templateLabel = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)

// TestAlerts: Prometheus takes the file, each alert asks for what is exported, and leads to what to do about it.
func TestAlerts(t *testing.T) {
	p := readPage(t)
	groups, errs := rulefmt.ParseFile(root+"/config/monitoring/alerts.yaml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	alerts := map[string]bool{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			t.Run(rule.Alert, func(t *testing.T) {
				if alerts[rule.Alert] {
					t.Error("there are two of that name")
				}
				alerts[rule.Alert] = true
				if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
					t.Errorf("severity is %q", rule.Labels["severity"])
				}
				names, err := p.check(rule.Expr)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range templateLabel.FindAllStringSubmatch(rule.Annotations["summary"], -1) {
					if !slices.Contains(names, m[1]) {
						t.Errorf("the summary shows %s, which the expression does not answer", m[1])
					}
				}
				if rule.Annotations["summary"] == "" {
					t.Error("there is no summary")
				}
				checkRunbook(t, rule.Alert, rule.Annotations["runbook_url"])
			})
		}
	}
	if len(alerts) < 10 {
		t.Errorf("there are %d alerts", len(alerts))
	}
	data, err := os.ReadFile(root + "/docs/runbooks/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(data), -1) {
		if !alerts[m[1]] {
			t.Errorf("docs/runbooks/alerts.md tells of %s, which is no alert", m[1])
		}
	}
}

// checkRunbook wants a URL of this repository's docs/runbooks to be that of a page that has the section of the alert.
func checkRunbook(t *testing.T, alert, url string) {
	t.Helper()
	file, anchor, _ := strings.Cut(strings.TrimPrefix(url, "https://github.com/kubecell/kubectl-cell/blob/main/"), "#")
	if path.Dir(file) != "docs/runbooks" || anchor != strings.ToLower(alert) {
		t.Errorf("the runbook is %s", url)
	}
	data, err := os.ReadFile(root + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^## ` + alert + `$`).Match(data) {
		t.Errorf("%s has no section %s", file, alert)
	}
}

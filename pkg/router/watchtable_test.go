package router_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

var anyVersion = regexp.MustCompile(`"resourceVersion":"[0-9]+"`)

// tableRows are the events of a watch as Tables, up to its first bookmark: type, first cell and object of each row, in
// the order of names.
func tableRows(t *testing.T, config *rest.Config, path string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var rows []string
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Type   string
			Object struct {
				Rows []struct {
					Cells  []any
					Object json.RawMessage
				}
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		for _, row := range event.Object.Rows {
			first := any("")
			if len(row.Cells) > 0 {
				first = row.Cells[0]
			}
			name, _ := first.(string)
			object := anyVersion.ReplaceAllString(string(row.Object), `"resourceVersion":"1"`)
			rows = append(rows, strings.Join([]string{event.Type, name, object}, " "))
		}
		if event.Type == "BOOKMARK" {
			slices.Sort(rows)
			return rows
		}
	}
	t.Fatalf("the watch ended without a bookmark: %v", lines.Err())
	return nil
}

// TestAWatchOfTablesWithoutObjects has none, as that of a cell, though the router has asked the cells for metadata.
func TestAWatchOfTablesWithoutObjects(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "bare")
	b.oneOfEach(t, ns)
	b.awaitEverywhere(t, ns, "kube-root-ca.crt")
	const query = "/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&includeObject="
	through := tableRows(t, b.router, "/api/v1/namespaces/"+ns+query+"None")
	var direct []string
	for cell, config := range b.cells {
		for _, row := range tableRows(t, config, "/api/v1/namespaces/"+ns+query+"None") {
			// Each cell has a root CA, of which one is shown, and each says when that was all.
			once := strings.Contains(row, "kube-root-ca.crt") || strings.HasPrefix(row, "BOOKMARK")
			if !once || cell == "cell-1" {
				direct = append(direct, row)
			}
		}
	}
	slices.Sort(direct)
	if diff := cmp.Diff(direct, through); diff != "" {
		t.Errorf("(-cells +router):\n%s", diff)
	}
	for _, row := range tableRows(t, b.router, "/api/v1/namespaces/"+ns+query+"Metadata") {
		if strings.HasSuffix(row, " null") {
			t.Errorf("with metadata: %s", row)
		}
	}
}

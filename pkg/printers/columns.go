package printers

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// columns are those of -o custom-columns=HEADER:PATH,…. The printer of kubectl is not used: it
// lives in the package of `kubectl get`, whose imports would double the start-up time.
type columns []column

type column struct {
	header string
	path   *jsonpath.JSONPath
}

// parseColumns reads HEADER:PATH pairs. A path may be written {.a.b}, .a.b or a.b, as in kubectl.
func parseColumns(spec string) (columns, error) {
	if spec == "" {
		return nil, fmt.Errorf("no columns given; write custom-columns=HEADER:.path,HEADER:.path")
	}
	var out columns
	for part := range strings.SplitSeq(spec, ",") {
		header, path, found := strings.Cut(part, ":")
		if !found || header == "" || path == "" {
			return nil, fmt.Errorf("column %q is not HEADER:.path", Clip(part))
		}
		path = strings.TrimSuffix(strings.TrimPrefix(path, "{"), "}")
		parsed := jsonpath.New(header).AllowMissingKeys(true)
		if err := parsed.Parse("{." + strings.TrimPrefix(path, ".") + "}"); err != nil {
			return nil, fmt.Errorf("column %s: %w", header, err)
		}
		out = append(out, column{header: header, path: parsed})
	}
	return out, nil
}

// write prints one row for each element of the document's data, or one row if that is no list.
func (c columns) write(w io.Writer, document *Document, noHeaders bool) error {
	content, err := document.unstructured()
	if err != nil {
		return err
	}
	rows, isList := content.Object["data"].([]any)
	if !isList {
		rows = []any{content.Object["data"]}
	}
	table := Table{NoHeader: noHeaders}
	for _, column := range c {
		table.Header = append(table.Header, column.header)
	}
	for _, row := range rows {
		cells := make([]string, len(c))
		for i, column := range c {
			if cells[i], err = column.value(row); err != nil {
				return fmt.Errorf("column %s: %w", column.header, err)
			}
		}
		table.Rows = append(table.Rows, cells)
	}
	return table.Write(w)
}

// value is what the path finds in the row, "<none>" where that is nothing.
func (c column) value(row any) (string, error) {
	results, err := c.path.FindResults(row)
	if err != nil {
		return "", err
	}
	var found []string
	for _, result := range results {
		for _, value := range result {
			found = append(found, fmt.Sprint(value.Interface()))
		}
	}
	if len(found) == 0 {
		return "<none>", nil
	}
	return strings.Join(found, ","), nil
}

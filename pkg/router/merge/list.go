// Package merge makes one list of the lists of several control planes.
//
// The result is in the order of an apiserver's own list, holds an object only from the control plane in
// which it counts, and is as complete as its parts: a caller that lacks one part must not merge the
// rest. Objects pass as the bytes that the cell sent; only their names are read.
//
// It knows nothing of HTTP or of placement. A merged list has no resource version and is never
// continued: it is always one whole answer.
package merge

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Part is the answer of one control plane to a list.
type Part struct {
	// Source is the control plane's name.
	Source string
	// Body is a list or a Table in JSON. The caller closes it.
	Body io.Reader
}

// RowObjects says whether the rows of a Table keep the objects that they describe. Parts always have
// them, since a row without one does not say whose it is.
type RowObjects bool

const (
	// KeepRowObjects is for includeObject=Metadata and includeObject=Object.
	KeepRowObjects RowObjects = true
	// DropRowObjects is for includeObject=None.
	DropRowObjects RowObjects = false
)

// Visible says whether an object counts in the control plane that answered with it.
type Visible func(source, namespace, name string) bool

// list has the fields of a list and of a Table that matter here; an answer uses one half of them.
type list struct {
	Kind              string            `json:"kind"`
	APIVersion        string            `json:"apiVersion"`
	ColumnDefinitions json.RawMessage   `json:"columnDefinitions"`
	Rows              []json.RawMessage `json:"rows"`
	Items             []json.RawMessage `json:"items"`
}

// entry is one object or row, and what it is sorted by: the end of its key in etcd, which is the order
// of an apiserver's own lists ("a-b/x" comes before "a/x").
type entry struct {
	key string
	raw json.RawMessage
}

type objectName struct {
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
}

// Lists merges the parts and writes the result to w as JSON. The kind of the result is that of the
// first part; parts of different kinds are an error, since no client could read their union.
func Lists(w io.Writer, parts []Part, visible Visible, rows RowObjects) error {
	var merged list
	var entries []entry
	for i, part := range parts {
		var l list
		if err := json.NewDecoder(part.Body).Decode(&l); err != nil {
			return fmt.Errorf("read list of %s: %w", part.Source, err)
		}
		if i == 0 {
			merged.Kind, merged.APIVersion, merged.ColumnDefinitions = l.Kind, l.APIVersion, l.ColumnDefinitions
		} else if l.Kind != merged.Kind || l.APIVersion != merged.APIVersion {
			return fmt.Errorf("%s answers with %s %s, %s with %s %s", parts[0].Source, merged.APIVersion, merged.Kind, part.Source, l.APIVersion, l.Kind)
		}
		found, err := l.entries(part.Source, visible, rows)
		if err != nil {
			return err
		}
		entries = append(entries, found...)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return merged.write(w, entries)
}

// isTable says which half of the fields an answer uses. An empty Table has no rows, but a kind.
func (l *list) isTable() bool { return l.Kind == "Table" }

func (l *list) entries(source string, visible Visible, rows RowObjects) ([]entry, error) {
	raws := l.Items
	if l.isTable() {
		raws = l.Rows
	}
	out := make([]entry, 0, len(raws))
	for _, raw := range raws {
		object := raw
		if l.isTable() {
			row := map[string]json.RawMessage{}
			if err := json.Unmarshal(raw, &row); err != nil {
				return nil, fmt.Errorf("read row of %s: %w", source, err)
			}
			object = row["object"]
			if rows == DropRowObjects {
				delete(row, "object")
				var err error
				if raw, err = json.Marshal(row); err != nil {
					return nil, fmt.Errorf("write row of %s: %w", source, err)
				}
			}
		}
		var named objectName
		if err := json.Unmarshal(object, &named); err != nil {
			return nil, fmt.Errorf("read object of %s: %w", source, err)
		}
		if visible(source, named.Metadata.Namespace, named.Metadata.Name) {
			out = append(out, entry{named.Metadata.Namespace + "/" + named.Metadata.Name, raw})
		}
	}
	return out, nil
}

// write puts the merged list together: items of a list and rows of a Table are required fields, there
// even where they are empty.
func (l *list) write(w io.Writer, entries []entry) error {
	raws := make([]json.RawMessage, len(entries))
	for i, e := range entries {
		raws[i] = e.raw
	}
	out := map[string]any{"kind": l.Kind, "apiVersion": l.APIVersion, "metadata": struct{}{}}
	if l.isTable() {
		out["columnDefinitions"], out["rows"] = l.ColumnDefinitions, raws
	} else {
		out["items"] = raws
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("write merged list: %w", err)
	}
	return nil
}

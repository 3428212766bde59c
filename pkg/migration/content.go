package migration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// content is what has to be equal in both cells, by its path: everything but what a server sets, the
// marks, and the status, which is compared by itself where it is written by itself.
type content map[string]json.RawMessage

func (d *document) content() (content, error) {
	out := content{}
	for name, raw := range d.fields {
		switch name {
		case "apiVersion", "kind", "status":
		default:
			out[name] = raw
		}
	}
	for _, name := range []string{"generateName", "finalizers"} {
		if raw, there := d.meta[name]; there {
			out["metadata."+name] = raw
		}
	}
	own := d.clone()
	own.unmark()
	delete(own.annotations, v1alpha1.AnnotationPlacementEpoch)
	sets := map[string]any{}
	if len(own.labels) > 0 {
		sets["metadata.labels"] = own.labels
	}
	if len(own.annotations) > 0 {
		sets["metadata.annotations"] = own.annotations
	}
	if len(own.owners) > 0 {
		sets["metadata.ownerReferences"] = own.owners
	}
	for path, value := range sets {
		raw, err := encode(value)
		if err != nil {
			return nil, err
		}
		out[path] = raw
	}
	return out, nil
}

// unmark takes all marks off.
func (d *document) unmark() {
	delete(d.labels, v1alpha1.LabelRebalanceStatus)
	for _, mark := range marks() {
		delete(d.annotations, mark)
	}
}

// hash is the SHA-256 of the content in the server's own encoding. Equal hashes mean equal content;
// servers of different versions may encode the same differently.
func (c content) hash() string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(h, "%d %s %d ", len(path), path, len(c[path]))
		h.Write(c[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// difference is the path of the first field in which got differs from c, "" where none does.
func (c content) difference(got content) string {
	paths := maps.Clone(c)
	maps.Copy(paths, got)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if at := differ(path, c[path], got[path]); at != "" {
			return at
		}
	}
	return ""
}

// differ compares two encoded values. An absent one equals null and what is empty.
func differ(path string, want, got json.RawMessage) string {
	if bytes.Equal(want, got) {
		return ""
	}
	return differValues(path, decode(want), decode(got))
}

// decode keeps numbers as they are written.
func decode(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil // it is absent: what a server sent parses
	}
	return value
}

func differValues(path string, want, got any) string {
	if empty(want) && empty(got) || reflect.DeepEqual(want, got) {
		return ""
	}
	switch want := want.(type) {
	case map[string]any:
		got, same := got.(map[string]any)
		if !same {
			return path
		}
		names := maps.Clone(want)
		maps.Copy(names, got)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if at := differValues(path+"."+name, want[name], got[name]); at != "" {
				return at
			}
		}
		return ""
	case []any:
		got, same := got.([]any)
		if !same || len(got) != len(want) {
			return path
		}
		for i := range want {
			if at := differValues(fmt.Sprintf("%s[%d]", path, i), want[i], got[i]); at != "" {
				return at
			}
		}
		return ""
	}
	return path
}

func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(value) == 0
	case []any:
		return len(value) == 0
	}
	return false
}

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// RewriteVersions translates the resource versions in the body of a client's request: metadata.resourceVersion of
// objects and of patches, the preconditions of DeleteOptions, also of those in an Eviction, and in a JSON patch the
// values at /metadata/resourceVersion, at /metadata and of the whole document. An empty version is left alone.
// translate's error is returned as it is.
//
// A body without any is returned as it is, and so is one of a content type that is none of Kubernetes' JSON, YAML
// and protobuf ones, and one that is not well-formed: the server refuses those in its own words. YAML that has a
// version comes back as JSON, which is YAML too.
func RewriteVersions(contentType string, body []byte, translate func(version string) (string, error)) ([]byte, error) {
	media, _ := MediaType(contentType)
	switch media {
	case "application/json":
		return rewriteJSON(body, (*request).object, translate)
	case "application/merge-patch+json", "application/strategic-merge-patch+json":
		return rewriteJSON(body, (*request).patch, translate)
	case "application/json-patch+json":
		return rewriteJSON(body, (*request).operations, translate)
	case "application/yaml":
		return rewriteYAML(body, (*request).object, translate)
	case "application/apply-patch+yaml":
		return rewriteYAML(body, (*request).patch, translate)
	case "application/vnd.kubernetes.protobuf":
		return rewriteProtobuf(body, translate)
	default:
		return body, nil
	}
}

// word is in every body that has a version, unless letters of it are escaped.
const word = "resourceVersion"

// request finds the versions in a body of JSON.
type request struct {
	scanner
	// found are the places of versions, each with its old one.
	found []edit
}

// rewriteJSON applies translate to the versions that find finds.
func rewriteJSON(body []byte, find func(*request) error, translate func(string) (string, error)) ([]byte, error) {
	if !bytes.Contains(body, []byte(word)) && !bytes.Contains(body, []byte(`\u`)) {
		return body, nil
	}
	q := request{scanner: scanner{data: body}}
	if err := find(&q); err != nil {
		return body, nil //nolint:nilerr // the server says what is wrong with it
	}
	if q.end() != nil || len(q.found) == 0 {
		return body, nil
	}
	for i := range q.found {
		to, err := translate(q.found[i].version)
		if err != nil {
			return nil, err
		}
		quoted, err := json.Marshal(to)
		if err != nil {
			return nil, fmt.Errorf("write resource version: %w", err)
		}
		q.found[i].version = string(quoted[1 : len(quoted)-1])
	}
	slices.SortFunc(q.found, func(a, b edit) int { return a.start - b.start })
	return apply(make([]byte, 0, len(body)+32*len(q.found)), body, q.found), nil
}

// object finds the versions in an object, in DeleteOptions or in an Eviction. A custom resource may have fields of
// the same names: it has metadata, which DeleteOptions have not, and its kind, which is none of the two.
func (q *request) object() error {
	var kind, apiVersion []byte
	var preconditions, inOptions []edit
	hasMetadata := false
	err := q.scanner.object(func(key []byte) (err error) {
		switch string(key) {
		case "kind":
			kind, err = q.optionalText()
		case "apiVersion":
			apiVersion, err = q.optionalText()
		case "metadata":
			hasMetadata = true
			err = q.version(&q.found)
		case "preconditions":
			err = q.version(&preconditions)
		case "deleteOptions":
			err = q.at("preconditions", func() error { return q.version(&inOptions) })
		default:
			err = q.skip()
		}
		return err
	})
	if !hasMetadata && (len(kind) == 0 || string(kind) == "DeleteOptions") {
		q.found = append(q.found, preconditions...)
	}
	if len(kind) == 0 || string(kind) == "Eviction" && bytes.HasPrefix(apiVersion, []byte("policy/")) {
		q.found = append(q.found, inOptions...)
	}
	return err
}

// patch finds the version in a merge patch, a strategic merge patch or an applied configuration.
func (q *request) patch() error {
	return q.at("metadata", func() error { return q.version(&q.found) })
}

// at reads an object and calls visit at the values of one key. Anything else than an object is skipped.
func (q *request) at(name string, visit func() error) error {
	c, err := q.peek()
	if err != nil {
		return err
	}
	if c != '{' {
		return q.skip()
	}
	return q.scanner.object(func(key []byte) error {
		if string(key) == name {
			return visit()
		}
		return q.skip()
	})
}

// version finds the key resourceVersion in the object that begins here.
func (q *request) version(found *[]edit) error {
	return q.at(word, func() error { return q.value(found) })
}

// value takes the version that begins here, if it is one: a string with something in it.
func (q *request) value(found *[]edit) error {
	if _, err := q.peek(); err != nil {
		return err
	}
	start := q.pos
	text, err := q.optionalText()
	if err == nil && len(text) > 0 {
		*found = append(*found, edit{start: start, end: q.pos, before: `"`, after: `"`, version: string(text)})
	}
	return err
}

// operations finds the versions in a JSON patch. Which operation it is makes no difference: those that take no value
// ignore the one that they have.
func (q *request) operations() error {
	return q.array(func() error {
		var path []byte
		hasPath, value := false, 0
		err := q.scanner.object(func(key []byte) (err error) {
			switch string(key) {
			case "path":
				path, err = q.optionalText()
				hasPath = true
			case "value":
				value = q.pos
				err = q.skip()
			default:
				err = q.skip()
			}
			return err
		})
		if err != nil || value == 0 || !hasPath {
			return err
		}
		after := q.pos
		q.pos = value
		defer func() { q.pos = after }()
		switch string(path) {
		case "/metadata/resourceVersion":
			return q.value(&q.found)
		case "/metadata":
			return q.version(&q.found)
		case "":
			return q.patch()
		}
		return nil
	})
}

// rewriteYAML rewrites JSON in place and converts what is YAML only if it may have a version. YAML has more ways
// than JSON to write a word without writing it: escapes, tags such as !!binary, and UTF-16.
func rewriteYAML(body []byte, find func(*request) error, translate func(string) (string, error)) ([]byte, error) {
	if !bytes.Contains(body, []byte(word)) && !bytes.ContainsAny(body, "\\!\x00") && utf8.Valid(body) {
		return body, nil
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); bytes.HasPrefix(trimmed, []byte("{")) || bytes.HasPrefix(trimmed, []byte("[")) {
		q := request{scanner: scanner{data: body}}
		if find(&q) == nil && q.end() == nil {
			return rewriteJSON(body, find, translate)
		}
	}
	// Strictly: a key that is there twice would be lost here, and the server would not see it.
	converted, err := yaml.YAMLToJSONStrict(body)
	if err != nil {
		return body, nil //nolint:nilerr // the server says what is wrong with it
	}
	out, err := rewriteJSON(converted, find, translate)
	switch {
	case err != nil:
		return nil, err
	case bytes.Equal(out, converted):
		return body, nil
	default:
		return out, nil
	}
}

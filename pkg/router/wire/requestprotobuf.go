package wire

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// step is one way down into a message: the fields of that number hold the next one.
type step = protowire.Number

// rewriteProtobuf applies translate to the versions in an object, DeleteOptions or Eviction in protobuf.
func rewriteProtobuf(body []byte, translate func(string) (string, error)) ([]byte, error) {
	e, err := open(body)
	if err != nil {
		return body, nil //nolint:nilerr // the server says what is wrong with it
	}
	paths := [][]step{{objectMetadata, metaVersion}}
	switch {
	case isDeleteOptions(&e):
		paths = [][]step{{deleteOptionsPreconditions, preconditionsVersion}}
	case string(e.kind) == "Eviction" && bytes.HasPrefix(e.apiVersion, []byte("policy/")):
		paths = append(paths, []step{evictionDeleteOptions, deleteOptionsPreconditions, preconditionsVersion})
	}
	var refused error
	changed := false
	t := func(version string) (string, error) {
		changed = true
		to, err := translate(version)
		if err != nil {
			refused = err
		}
		return to, err
	}
	out, err := appendEnvelope(make([]byte, 0, len(body)+32), body, func(dst, raw []byte) ([]byte, error) {
		return appendTranslated(dst, raw, paths, t)
	})
	switch {
	case refused != nil:
		return nil, refused
	case err != nil || !changed:
		return body, nil //nolint:nilerr // the server says what is wrong with it
	default:
		return out, nil
	}
}

// isDeleteOptions knows DeleteOptions by their kind, or where none is given by their having no metadata, which
// every object in protobuf has.
func isDeleteOptions(e *envelope) bool {
	if len(e.kind) > 0 {
		return string(e.kind) == "DeleteOptions"
	}
	metadata := false
	err := fields(e.raw, func(f field) error {
		metadata = metadata || f.is(objectMetadata)
		return nil
	})
	return err == nil && !metadata
}

// appendTranslated appends a message in which the strings at the ends of paths are translated. Where there is
// nothing to change it stays byte for byte.
func appendTranslated(dst, message []byte, paths [][]step, translate func(string) (string, error)) ([]byte, error) {
	err := fields(message, func(f field) (err error) {
		var deeper [][]step
		for _, path := range paths {
			if f.is(path[0]) {
				deeper = append(deeper, path[1:])
			}
		}
		switch {
		case len(deeper) == 0 || len(f.value) == 0:
			dst = append(dst, f.all...)
		case len(deeper[0]) == 0:
			var to string
			if to, err = translate(string(f.value)); err == nil {
				dst = appendString(dst, f.number, to)
			}
		default:
			dst, err = appendMessage(dst, f.number, func(dst []byte) ([]byte, error) {
				return appendTranslated(dst, f.value, deeper, translate)
			})
		}
		return err
	})
	return dst, err
}

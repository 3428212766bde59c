package wire

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ReadKind reads what kind of object data is.
func (f Format) ReadKind(object []byte) (apiVersion, kind string, err error) {
	switch f {
	case JSON:
		var d document
		err = d.read(&scanner{data: object})
		apiVersion, kind = string(d.apiVersion), string(d.kind)
	case Protobuf:
		var e envelope
		e, err = open(object)
		apiVersion, kind = string(e.apiVersion), string(e.kind)
	default:
		err = fmt.Errorf("unknown format %d", f)
	}
	if err != nil {
		return "", "", fmt.Errorf("read kind: %w", err)
	}
	return apiVersion, kind, nil
}

// WithoutColumns returns a Table without its column definitions, nil where it has none. It leaves data as
// it is. In protobuf there are no Tables.
func (f Format) WithoutColumns(table []byte) ([]byte, error) {
	if f != JSON {
		return nil, nil
	}
	var cut []edit
	s := &scanner{data: table}
	err := s.object(func(key []byte) error {
		if string(key) != "columnDefinitions" {
			return s.skip()
		}
		if _, err := s.peek(); err != nil {
			return err
		}
		start := s.pos
		if err := s.skip(); err != nil {
			return err
		}
		if string(table[start:s.pos]) != "null" {
			cut = append(cut, edit{start: start, end: s.pos, before: "null"})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	if len(cut) == 0 {
		return nil, nil
	}
	return apply(nil, table, cut), nil
}

// WithoutObjects returns a Table with null in the place of the object of each row, as an apiserver answers who asks
// for none. It leaves data as it is. In protobuf there are no Tables.
func (f Format) WithoutObjects(table []byte) ([]byte, error) {
	if f != JSON {
		return table, nil
	}
	var cut []edit
	s := &scanner{data: table}
	row := func(key []byte) error {
		if _, err := s.peek(); err != nil {
			return err
		}
		start := s.pos
		if err := s.skip(); err != nil {
			return err
		}
		if string(key) == "object" {
			cut = append(cut, edit{start: start, end: s.pos, before: "null"})
		}
		return nil
	}
	err := s.object(func(key []byte) error {
		if string(key) != "rows" {
			return s.skip()
		}
		return s.array(func() error { return s.object(row) })
	})
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	return apply(nil, table, cut), nil
}

// AppendStatus appends a Status to dst as an object of its own.
func (f Format) AppendStatus(dst []byte, status metav1.Status) ([]byte, error) {
	status.Kind, status.APIVersion = "Status", "v1"
	if f == JSON {
		data, err := json.Marshal(&status)
		return append(dst, data...), err
	}
	raw, err := status.Marshal()
	if err != nil {
		return dst, fmt.Errorf("write status: %w", err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: status.APIVersion, Kind: status.Kind}, Raw: raw}
	data, err := unknown.Marshal()
	if err != nil {
		return dst, fmt.Errorf("write status: %w", err)
	}
	return append(append(dst, magic...), data...), nil
}

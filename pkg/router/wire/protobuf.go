package wire

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// magic begins every object in protobuf.
const magic = "k8s\x00"

// Field numbers, from the .proto files of k8s.io/apimachinery. Every kind has its ObjectMeta, and every list its
// ListMeta, in field 1.
const (
	unknownTypeMeta, unknownRaw                          protowire.Number = 1, 2
	typeMetaAPIVersion, typeMetaKind                     protowire.Number = 1, 2
	objectMetadata                                       protowire.Number = 1
	metaName, metaNamespace, metaUID, metaVersion        protowire.Number = 1, 3, 5, 6
	metaDeletion, metaLabels, metaAnnotations            protowire.Number = 9, 11, 12
	mapKey, mapValue                                     protowire.Number = 1, 2
	listMetadata, listItems                              protowire.Number = 1, 2
	listMetaVersion, listMetaContinue, listMetaRemaining protowire.Number = 2, 3, 4
	watchEventType, watchEventObject, rawExtensionRaw    protowire.Number = 1, 2, 1
	deleteOptionsPreconditions, preconditionsVersion     protowire.Number = 2, 2
	evictionDeleteOptions                                protowire.Number = 2
)

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	// all is the field with its tag, value what it holds where it is a string or a message.
	all, value []byte
}

// fields calls visit for each field of a message, in the order in which they are.
func fields(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		number, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return fmt.Errorf("read protobuf: %w", protowire.ParseError(tag))
		}
		size := protowire.ConsumeFieldValue(number, kind, message[tag:])
		if size < 0 {
			return fmt.Errorf("read protobuf: %w", protowire.ParseError(size))
		}
		f := field{number: number, kind: kind, all: message[:tag+size]}
		if kind == protowire.BytesType {
			f.value, _ = protowire.ConsumeBytes(message[tag:])
		}
		if err := visit(f); err != nil {
			return err
		}
		message = message[tag+size:]
	}
	return nil
}

// is says whether f is the string or message of that number.
func (f field) is(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.BytesType
}

// appendMessage appends a field that holds what body appends.
func appendMessage(dst []byte, number protowire.Number, body func(dst []byte) ([]byte, error)) ([]byte, error) {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	start := len(dst)
	dst, err := body(dst)
	if err != nil {
		return nil, err
	}
	// The length stands before the body and is known after it.
	size := len(dst) - start
	dst = protowire.AppendVarint(dst, uint64(size)) //nolint:gosec // a length is not negative
	prefix := len(dst) - start - size
	var length [10]byte
	copy(length[:], dst[start+size:])
	copy(dst[start+prefix:], dst[start:start+size])
	copy(dst[start:], length[:prefix])
	return dst, nil
}

func appendString(dst []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, number, protowire.BytesType), value)
}

// envelope is what runtime.Unknown says of the object in it.
type envelope struct {
	apiVersion, kind []byte
	raw              []byte
}

// open reads the envelope of an object.
func open(data []byte) (envelope, error) {
	var e envelope
	if !bytes.HasPrefix(data, []byte(magic)) {
		return e, fmt.Errorf("object does not begin with %q", magic)
	}
	err := fields(data[len(magic):], func(f field) error {
		switch {
		case f.is(unknownTypeMeta):
			return e.readType(f.value)
		case f.is(unknownRaw):
			e.raw = f.value
		}
		return nil
	})
	return e, err
}

func (e *envelope) readType(typeMeta []byte) error {
	return fields(typeMeta, func(f field) error {
		switch {
		case f.is(typeMetaAPIVersion):
			e.apiVersion = f.value
		case f.is(typeMetaKind):
			e.kind = f.value
		}
		return nil
	})
}

func (e *envelope) isStatus() bool {
	return string(e.kind) == "Status" && string(e.apiVersion) == "v1"
}

// readMessage reads the metadata of a message without envelope.
func (v *views) readMessage(message []byte) error {
	return fields(message, func(f field) error {
		if !f.is(objectMetadata) {
			return nil
		}
		return fields(f.value, v.readField)
	})
}

// readField reads one field of ObjectMeta.
func (v *views) readField(f field) error {
	if f.kind != protowire.BytesType {
		return nil
	}
	switch f.number {
	case metaName:
		v.name = f.value
	case metaNamespace:
		v.namespace = f.value
	case metaUID:
		v.uid = f.value
	case metaVersion:
		v.version = f.value
	case metaDeletion:
		v.deleting = true
	case metaLabels:
		return readEntry(f.value, v.setLabel)
	case metaAnnotations:
		return readEntry(f.value, v.setAnnotation)
	}
	return nil
}

// readEntry reads one entry of a map of strings.
func readEntry(entry []byte, visit func(key, value []byte)) error {
	var key, value []byte
	err := fields(entry, func(f field) error {
		switch {
		case f.is(mapKey):
			key = f.value
		case f.is(mapValue):
			value = f.value
		}
		return nil
	})
	if err == nil {
		visit(key, value)
	}
	return err
}

func readMetaProtobuf(data []byte) (Meta, error) {
	e, err := open(data)
	if err != nil || e.isStatus() {
		return Meta{}, err
	}
	return readMetaMessage(e.raw)
}

func readMetaMessage(message []byte) (Meta, error) {
	var v views
	if err := v.readMessage(message); err != nil {
		return Meta{}, err
	}
	return v.meta(), nil
}

func appendVersionedProtobuf(dst, data []byte, version func(Meta) string) ([]byte, error) {
	e, err := open(data)
	if err != nil {
		return nil, err
	}
	if e.isStatus() {
		return append(dst, data...), nil
	}
	meta, err := readMetaMessage(e.raw)
	if err != nil {
		return nil, err
	}
	to := version(meta)
	if to == "" {
		return append(dst, data...), nil
	}
	return appendEnvelope(dst, data, func(dst, raw []byte) ([]byte, error) {
		return appendVersionedMessage(dst, raw, to)
	})
}

// appendEnvelope appends the object in data with its message rewritten.
func appendEnvelope(dst, data []byte, rewrite func(dst, raw []byte) ([]byte, error)) ([]byte, error) {
	dst = append(dst, magic...)
	written := false
	err := fields(data[len(magic):], func(f field) (err error) {
		if !f.is(unknownRaw) {
			dst = append(dst, f.all...)
			return nil
		}
		written = true
		dst, err = appendMessage(dst, unknownRaw, func(dst []byte) ([]byte, error) { return rewrite(dst, f.value) })
		return err
	})
	if err == nil && !written {
		dst, err = appendMessage(dst, unknownRaw, func(dst []byte) ([]byte, error) { return rewrite(dst, nil) })
	}
	return dst, err
}

// appendVersionedMessage appends a message without envelope with another resource version. Parts of metadata that is
// there twice are read as one, so that the last version in them counts; each is rewritten.
func appendVersionedMessage(dst, message []byte, version string) ([]byte, error) {
	found := false
	err := fields(message, func(f field) (err error) {
		if !f.is(objectMetadata) {
			dst = append(dst, f.all...)
			return nil
		}
		dst, err = appendMessage(dst, objectMetadata, func(dst []byte) ([]byte, error) {
			found = true
			return appendVersionedMeta(dst, f.value, version)
		})
		return err
	})
	if err == nil && !found {
		dst, err = appendMessage(dst, objectMetadata, func(dst []byte) ([]byte, error) {
			return appendString(dst, metaVersion, version), nil
		})
	}
	return dst, err
}

// appendVersionedMeta appends an ObjectMeta with another resource version, where the old one stood or at the end.
func appendVersionedMeta(dst, meta []byte, version string) ([]byte, error) {
	found := false
	err := fields(meta, func(f field) error {
		if f.is(metaVersion) {
			found = true
			dst = appendString(dst, metaVersion, version)
			return nil
		}
		dst = append(dst, f.all...)
		return nil
	})
	if !found {
		dst = appendString(dst, metaVersion, version)
	}
	return dst, err
}

// Package wire reads and rewrites Kubernetes objects as they are on the wire, in JSON and in Kubernetes'
// protobuf ("k8s\0" and a runtime.Unknown), without decoding them: names, versions and the few marks that a
// router needs are read, resource versions are replaced, everything else passes as the bytes that came.
//
// It is pure: bytes in, bytes out. What a version means is the caller's business.
//
// Invariants. Of a well-formed object only the resource version changes, whatever reads it afterwards: a key that is
// there twice is rewritten both times, so that it makes no difference which of them a reader takes. Keys are case
// sensitive, as Kubernetes' own are, and may be written with escapes. Nothing panics, nothing recurses by the depth
// of its input, and memory is bounded by one object, which is bounded by [MaxObject]. A list that breaks off is an
// error, never a short list.
//
// Not promised: that what was skipped is well-formed. Brackets that do not match inside a field that nobody asked for
// pass as they came, and the reader at the other end refuses them.
//
// Start at [Format.AppendVersioned] for single objects, [RewriteVersions] for what clients send, [ListReader] for
// lists and [FrameReader] for watches.
package wire

import "fmt"

// Format is how objects are encoded.
type Format int

const (
	// JSON is application/json. YAML is not a format of its own here: it is read and written as JSON.
	JSON Format = iota + 1
	// Protobuf is application/vnd.kubernetes.protobuf. Custom resources and Tables have no such form.
	Protobuf
)

// MaxObject is the largest object, row or watch event that is read, in bytes. An apiserver stores no object above
// 1.5 MB by default and takes no request above 3 MB; the rest is room for fields that JSON writes at length.
const MaxObject = 64 << 20

// maxDepth is how deeply JSON may be nested; encoding/json has the same limit.
const maxDepth = 10000

// syntaxError is input that is not in the format that it should be in. It is a type of constants, so that the
// package needs no variables.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

const (
	// errShort is input that ends before the value does. Readers of streams ask for more.
	errShort syntaxError = "unexpected end of the object"
	errDepth syntaxError = "JSON is nested too deeply"
	errLarge syntaxError = "object is larger than the limit"
)

// Meta is what a router reads of an object.
type Meta struct {
	Namespace, Name, UID, ResourceVersion string
	// PlacementEpoch is the annotation v1alpha1.AnnotationPlacementEpoch, "" where the object never moved.
	PlacementEpoch string
	// RebalanceStatus is the label v1alpha1.LabelRebalanceStatus, "" where the object is not in migration.
	RebalanceStatus string
	// InitialEventsEnd is set on the bookmark that ends the initial events of a watch.
	InitialEventsEnd bool
	// Deleting is true where a deletion timestamp is set.
	Deleting bool
}

// ReadMeta reads the metadata of one encoded object. For a Table of one row it is that of the row's object, for any
// other Table its resource version alone. For a Status it is empty.
func (f Format) ReadMeta(object []byte) (Meta, error) {
	switch f {
	case JSON:
		return readMetaJSON(object)
	case Protobuf:
		return readMetaProtobuf(object)
	default:
		return Meta{}, fmt.Errorf("read metadata: unknown format %d", f)
	}
}

// AppendVersioned appends object to dst with the resource version that version returns for its metadata, and returns
// the longer slice. Where the object has no resource version one is added; where version returns "" the object stays
// as it is, and so does a Status. In a Table the objects of the rows are rewritten and the Table itself: with one row
// version gets that row's metadata for both, otherwise the Table's own version alone. Versions must be printable
// ASCII without quotes and backslashes.
//
// On an error dst is returned with the length that it had.
func (f Format) AppendVersioned(dst, object []byte, version func(Meta) string) ([]byte, error) {
	var out []byte
	var err error
	switch f {
	case JSON:
		out, err = appendVersionedJSON(dst, object, version)
	case Protobuf:
		out, err = appendVersionedProtobuf(dst, object, version)
	default:
		err = fmt.Errorf("rewrite version: unknown format %d", f)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

package wire

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bookmark returns the object of a BOOKMARK event: one of the watched kind with nothing but a version, and with the
// mark that the initial events are over where it ends them. For the kind Table, of group meta.k8s.io, it is a Table
// whose one row has no cells and such an object; there is none in protobuf.
func (f Format) Bookmark(apiVersion, kind, version string, initialEventsEnd bool) []byte {
	if f == Protobuf {
		return bookmarkProtobuf(apiVersion, kind, version, initialEventsEnd)
	}
	if kind == "Table" {
		out := appendTypeJSON(nil, apiVersion, kind)
		out = append(out, `,"metadata":{"resourceVersion":`...)
		out = strconv.AppendQuote(out, version)
		out = append(out, `},"columnDefinitions":null,"rows":[{"cells":[],"object":`...)
		out = append(out, f.Bookmark(apiVersion, "PartialObjectMetadata", version, initialEventsEnd)...)
		return append(out, "}]}"...)
	}
	out := appendTypeJSON(nil, apiVersion, kind)
	out = append(out, `,"metadata":{"resourceVersion":`...)
	out = strconv.AppendQuote(out, version)
	if initialEventsEnd {
		out = append(out, `,"annotations":{"`+metav1.InitialEventsAnnotationKey+`":"true"}`...)
	}
	return append(out, "}}"...)
}

func appendTypeJSON(dst []byte, apiVersion, kind string) []byte {
	dst = append(dst, `{"kind":`...)
	dst = strconv.AppendQuote(dst, kind)
	dst = append(dst, `,"apiVersion":`...)
	return strconv.AppendQuote(dst, apiVersion)
}

// bookmarkProtobuf builds the message from the inside. No step of it fails.
func bookmarkProtobuf(apiVersion, kind, version string, initialEventsEnd bool) []byte {
	meta := appendString(nil, metaVersion, version)
	if initialEventsEnd {
		entry := appendString(nil, mapKey, metav1.InitialEventsAnnotationKey)
		entry = appendString(entry, mapValue, "true")
		meta = appendString(meta, metaAnnotations, string(entry))
	}
	typeMeta := appendString(nil, typeMetaAPIVersion, apiVersion)
	typeMeta = appendString(typeMeta, typeMetaKind, kind)
	out := appendString([]byte(magic), unknownTypeMeta, string(typeMeta))
	return appendString(out, unknownRaw, string(appendString(nil, objectMetadata, string(meta))))
}

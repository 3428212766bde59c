package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// AppendItemHead appends what stands before an item, given without envelope, in the message of a list in protobuf. The
// item has size bytes and comes next.
func (m ListMeta) AppendItemHead(dst []byte, size int) []byte {
	_, number := m.fieldNumbers()
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(size)) //nolint:gosec // sizes are not negative
}

// AppendEnvelope appends the beginning of a list in protobuf whose item fields have size bytes together and come
// next: the envelope, the length of the message and the metadata, version, continue token and count of it.
func (m ListMeta) AppendEnvelope(dst []byte, size int64) []byte {
	number, _ := m.fieldNumbers()
	meta := appendString(nil, 1, "") // selfLink, which is always there
	meta = appendString(meta, listMetaVersion, m.ResourceVersion)
	meta = appendString(meta, listMetaContinue, m.Continue)
	if m.RemainingItemCount != nil {
		meta = protowire.AppendTag(meta, listMetaRemaining, protowire.VarintType)
		meta = protowire.AppendVarint(meta, uint64(*m.RemainingItemCount)) //nolint:gosec // as an int64 is on the wire
	}
	field := appendString(nil, number, string(meta))
	typeMeta := appendString(nil, typeMetaAPIVersion, m.APIVersion)
	typeMeta = appendString(typeMeta, typeMetaKind, m.Kind)
	dst = append(dst, magic...)
	dst = appendString(dst, unknownTypeMeta, string(typeMeta))
	dst = protowire.AppendTag(dst, unknownRaw, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(int64(len(field))+size)) //nolint:gosec // sizes are not negative
	return append(dst, field...)
}

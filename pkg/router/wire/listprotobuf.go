package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// protobufList reads a list in protobuf: an envelope whose message has the metadata and, one after the other, the
// items. Only one field of them is held at a time.
type protobufList struct {
	r *bufio.Reader
	// left is how many bytes of the message are still to come; the envelope itself has no length.
	left int64
	// opened, inMessage and hasMessage say how far it is.
	opened, inMessage, hasMessage bool
	buf                           []byte
}

// noEnd stands for the length of what ends with the stream.
const noEnd = math.MaxInt64

func newProtobufList(r io.Reader) *protobufList {
	return &protobufList{r: bufio.NewReaderSize(r, windowSize), left: noEnd}
}

func (l *protobufList) next(list *ListMeta) (Item, error) {
	item, err := l.nextField(list)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read list: %w", err)
	}
	return item, err
}

func (l *protobufList) nextField(list *ListMeta) (Item, error) {
	if err := l.open(); err != nil {
		return Item{}, err
	}
	for {
		if l.inMessage && l.left == 0 {
			l.inMessage, l.left = false, noEnd
		}
		metadata, items := list.fieldNumbers()
		f, err := l.field()
		switch {
		case errors.Is(err, io.EOF):
			return Item{}, l.ended()
		case err != nil:
			return Item{}, err
		case l.inMessage && f.is(items):
			meta, err := readMetaMessage(f.value)
			return Item{Meta: meta, Raw: f.value}, err
		case l.inMessage && f.is(metadata):
			err = list.readProtobuf(f.value)
		case !l.inMessage && f.is(unknownTypeMeta):
			err = list.readType(f.value)
		}
		if err != nil {
			return Item{}, err
		}
	}
}

// open consumes what every object in protobuf begins with.
func (l *protobufList) open() error {
	if l.opened {
		return nil
	}
	l.opened = true
	var got [len(magic)]byte
	if _, err := io.ReadFull(l.r, got[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	if string(got[:]) != magic {
		return fmt.Errorf("it does not begin with %q", magic)
	}
	return nil
}

func (l *protobufList) ended() error {
	if !l.hasMessage {
		return errors.New("it holds no object")
	}
	return io.EOF
}

func (m *ListMeta) readType(typeMeta []byte) error {
	var e envelope
	if err := e.readType(typeMeta); err != nil {
		return err
	}
	m.Kind, m.APIVersion = string(e.kind), string(e.apiVersion)
	if e.isStatus() {
		return errors.New("it is a Status")
	}
	return nil
}

// fieldNumbers are those of a list's metadata and items. One list has them the other way round.
func (m *ListMeta) fieldNumbers() (metadata, items protowire.Number) {
	if m.Kind == "PartialObjectMetadataList" && m.APIVersion == "meta.k8s.io/v1beta1" {
		return listItems, listMetadata
	}
	return listMetadata, listItems
}

func (m *ListMeta) readProtobuf(metadata []byte) error {
	return fields(metadata, func(f field) error {
		switch {
		case f.is(listMetaVersion):
			m.ResourceVersion = string(f.value)
		case f.is(listMetaContinue):
			m.Continue = string(f.value)
		case f.number == listMetaRemaining && f.kind == protowire.VarintType:
			_, _, tag := protowire.ConsumeTag(f.all)
			n, _ := protowire.ConsumeVarint(f.all[tag:])
			count := int64(n) //nolint:gosec // an int64 on the wire
			m.RemainingItemCount = &count
		}
		return nil
	})
}

// field reads the next field of the message or of the envelope. Where the message itself begins it returns no field,
// and those that come next are the message's. io.EOF is the end of the envelope.
func (l *protobufList) field() (field, error) {
	tag, err := binary.ReadUvarint(l)
	if err != nil && l.inMessage {
		err = cut(err)
	}
	if err != nil {
		return field{}, err
	}
	number, kind := protowire.DecodeTag(tag)
	if number < protowire.MinValidNumber {
		return field{}, fmt.Errorf("protobuf field number %d", number)
	}
	if !l.inMessage && number == unknownRaw && kind == protowire.BytesType {
		return field{}, l.enter()
	}
	return l.value(field{number: number, kind: kind})
}

// enter reads the length of the message in the envelope.
func (l *protobufList) enter() error {
	if l.hasMessage {
		return errors.New("it holds two objects")
	}
	size, err := binary.ReadUvarint(l)
	if err != nil {
		return cut(err)
	}
	if size >= noEnd {
		return errLarge
	}
	l.hasMessage, l.inMessage, l.left = true, true, int64(size)
	return nil
}

// value reads what a field holds.
func (l *protobufList) value(f field) (field, error) {
	l.buf = l.buf[:0]
	var err error
	size := uint64(0)
	switch f.kind {
	case protowire.VarintType:
		size, err = binary.ReadUvarint(l)
		l.buf = protowire.AppendVarint(protowire.AppendTag(l.buf, f.number, f.kind), size)
		f.all = l.buf
		return f, cut(err)
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	case protowire.BytesType:
		size, err = binary.ReadUvarint(l)
	default:
		err = fmt.Errorf("protobuf wire type %d", f.kind)
	}
	if err != nil {
		return f, cut(err)
	}
	if size > MaxObject {
		return f, errLarge
	}
	if int64(size) > l.left {
		return f, io.ErrUnexpectedEOF
	}
	err = l.fill(int(size))
	f.value = l.buf
	return f, err
}

// fill reads size bytes into buf. It believes the length step by step, since memory is taken before the bytes come.
func (l *protobufList) fill(size int) error {
	for size > 0 {
		step := min(size, 1<<20)
		l.buf = slices.Grow(l.buf, step)
		n, err := io.ReadFull(l.r, l.buf[len(l.buf):len(l.buf)+step])
		l.buf = l.buf[:len(l.buf)+n]
		if err != nil {
			return cut(err)
		}
		if l.left != noEnd {
			l.left -= int64(step)
		}
		size -= step
	}
	return nil
}

// ReadByte reads one byte of the message or of the envelope.
func (l *protobufList) ReadByte() (byte, error) {
	if l.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	c, err := l.r.ReadByte()
	if err == nil && l.left != noEnd {
		l.left--
	}
	return c, err
}

// cut is the error for a stream that ends where something has to follow.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

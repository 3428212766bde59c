package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Event is one event of a watch. It is valid until the reader's next call.
type Event struct {
	// Type is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
	Type string
	// Object is the encoded object, a Status where Type is ERROR.
	Object []byte
	// Meta is what [Format.ReadMeta] reads of Object.
	Meta Meta
	// Frame is the whole event as it came.
	Frame []byte
}

// FrameReader reads a watch event by event.
type FrameReader struct {
	format Format
	window window
}

// NewFrameReader reads a watch in format f from r. Next waits for no more of r than the event that it returns.
func NewFrameReader(f Format, r io.Reader) *FrameReader {
	return &FrameReader{format: f, window: window{r: r, frugal: true}}
}

// Next returns the next event. At the end of the stream it returns io.EOF, and io.ErrUnexpectedEOF where that is in
// the middle of an event. After an error nothing more can be read.
func (r *FrameReader) Next() (Event, error) {
	var e Event
	var err error
	switch r.format {
	case JSON:
		if e.Frame, err = r.window.nextJSON(); err == nil {
			err = e.readJSON()
		}
	case Protobuf:
		if e.Frame, err = r.window.nextDelimited(); err == nil {
			err = e.readProtobuf()
		}
	default:
		err = fmt.Errorf("unknown format %d", r.format)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read watch event: %w", err)
	}
	return e, err
}

// nextJSON consumes the object that comes next, a line as the apiserver writes them or any other.
func (w *window) nextJSON() ([]byte, error) {
	end, err := w.atEnd()
	if err != nil {
		return nil, err
	}
	if end {
		return nil, io.EOF
	}
	var k skimmer
	for seen := 0; ; {
		if size := k.skim(w.unread()[seen:]); size > 0 {
			frame := w.unread()[:seen+size]
			w.from += seen + size
			return frame, nil
		}
		seen = len(w.unread())
		if err := w.more(); err != nil {
			return nil, cut(err)
		}
	}
}

// frameHeader is the length, big-endian, before each event in protobuf.
const frameHeader = 4

// nextDelimited consumes the next event with its length.
func (w *window) nextDelimited() ([]byte, error) {
	for {
		have := w.unread()
		if len(have) >= frameHeader {
			size := int64(binary.BigEndian.Uint32(have))
			if size > MaxObject {
				return nil, errLarge
			}
			if end := frameHeader + int(size); len(have) >= end {
				w.from += end
				return have[:end], nil
			}
		}
		switch err := w.more(); {
		case err == nil:
		case len(have) > 0:
			return nil, cut(err)
		default:
			return nil, err
		}
	}
}

func (e *Event) readJSON() error {
	var object document
	s := &scanner{data: e.Frame}
	start, end := 0, 0
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "type":
			var text []byte
			text, err = s.optionalText()
			e.Type = string(text)
		case "object":
			if _, err = s.peek(); err != nil {
				return err
			}
			object.reset()
			start = s.pos
			err = object.read(s)
			end = s.pos
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	e.Object = e.Frame[start:end]
	e.Meta, err = object.metaIn(e.Frame)
	return err
}

func (e *Event) readProtobuf() error {
	err := fields(e.Frame[frameHeader:], func(f field) error {
		switch {
		case f.is(watchEventType):
			e.Type = string(f.value)
		case f.is(watchEventObject):
			return fields(f.value, func(f field) error {
				if f.is(rawExtensionRaw) {
					e.Object = f.value
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.Meta, err = readMetaProtobuf(e.Object)
	return err
}

// AppendEvent appends a whole event to dst as it stands in the stream of a watch.
func (f Format) AppendEvent(dst []byte, eventType string, object []byte) []byte {
	if f == JSON {
		dst = slices.Grow(dst, len(object)+len(eventType)+32)
		dst = append(append(append(dst, `{"type":"`...), eventType...), `","object":`...)
		// An object that an apiserver wrote for itself has a newline behind it.
		for len(object) > 0 && object[len(object)-1] == '\n' {
			object = object[:len(object)-1]
		}
		return append(append(dst, object...), '}', '\n')
	}
	dst = slices.Grow(dst, len(object)+len(eventType)+frameHeader+24)
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = appendString(dst, watchEventType, eventType)
	// Nothing in here fails.
	dst, _ = appendMessage(dst, watchEventObject, func(dst []byte) ([]byte, error) {
		return appendMessage(dst, rawExtensionRaw, func(dst []byte) ([]byte, error) { return append(dst, object...), nil })
	})
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-frameHeader)) //nolint:gosec // bounded by MaxObject
	return dst
}

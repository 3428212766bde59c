package wire

import (
	"fmt"
	"io"
)

// ListMeta is what a list says of itself.
type ListMeta struct {
	Kind, APIVersion          string
	ResourceVersion, Continue string
	// RemainingItemCount is nil where the server does not tell.
	RemainingItemCount *int64
	// ColumnDefinitions is the encoded array of a Table, nil for other lists.
	ColumnDefinitions []byte
}

// IsTable says whether the items are the rows of a Table.
func (m ListMeta) IsTable() bool { return m.Kind == "Table" }

// Item is one object of a list, or one row of a Table. It is valid until the reader's next call.
type Item struct {
	// Meta is empty for a row without object.
	Meta Meta
	// Raw is the object in JSON, the whole row in JSON, or the object in protobuf without its envelope.
	Raw []byte

	// document is where the version stands, for JSON.
	document *document
}

// AppendVersioned appends the item to dst with another resource version, which must be printable ASCII without quotes
// and backslashes. A row without object, and an item for which version is "", is appended as it is.
func (i Item) AppendVersioned(dst []byte, version string) ([]byte, error) {
	switch {
	case version == "":
		return append(dst, i.Raw...), nil
	case i.document != nil:
		return apply(dst, i.Raw, i.document.versioned(version)), nil
	default:
		return appendVersionedMessage(dst, i.Raw, version)
	}
}

// AppendWithoutObject appends a row of a Table to dst without its object, as includeObject=None has it. Other items
// are appended as they are.
func (i Item) AppendWithoutObject(dst []byte) []byte {
	if i.document == nil {
		return append(dst, i.Raw...)
	}
	return apply(dst, i.Raw, i.document.objects)
}

// listFormat reads one of the two encodings. next returns io.EOF behind the last item, when the whole list is read.
type listFormat interface {
	next(list *ListMeta) (Item, error)
}

// ListReader reads a list or a Table item by item and holds one item at a time.
type ListReader struct {
	format listFormat
	list   ListMeta
	err    error
}

// NewListReader reads a list in format f from r. It reads ahead, and to the end of r.
func NewListReader(f Format, r io.Reader) *ListReader {
	l := &ListReader{}
	switch f {
	case JSON:
		l.format = &jsonList{window: window{r: r}}
	case Protobuf:
		l.format = newProtobufList(r)
	default:
		l.err = fmt.Errorf("read list: unknown format %d", f)
	}
	return l
}

// Next returns the next item. At the end of the list it returns io.EOF; a list that breaks off before is
// io.ErrUnexpectedEOF. What is no list at all, such as a Status, is an error too.
func (l *ListReader) Next() (Item, error) {
	if l.err != nil {
		return Item{}, l.err
	}
	item, err := l.format.next(&l.list)
	l.err = err
	return item, err
}

// List is what the list says of itself. It is complete only when Next has returned io.EOF: a list of custom resources
// has its items before its metadata and kind, others have them behind.
func (l *ListReader) List() ListMeta { return l.list }

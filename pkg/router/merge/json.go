package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// Encoder writes a merged list.
type Encoder interface {
	// Item writes one item. list is as much as is known of the list by then.
	Item(list wire.ListMeta, item []byte) error
	// Finish writes what is left, with the version and the continue token of list.
	Finish(list wire.ListMeta) error
}

// NewJSON returns an encoder that writes each item as it comes, in small pieces. The metadata, which is not known
// before, comes last.
func NewJSON(w io.Writer) Encoder { return &jsonEncoder{w: w} }

type jsonEncoder struct {
	w     io.Writer
	buf   []byte
	begun bool
	// typed is true when the kind is written, at the beginning where it was known then.
	typed bool
}

func (e *jsonEncoder) Item(list wire.ListMeta, item []byte) error {
	e.buf = e.buf[:0]
	if e.begun {
		e.buf = append(e.buf, ',')
	} else if err := e.begin(list); err != nil {
		return err
	}
	if err := e.write(); err != nil {
		return err
	}
	_, err := e.w.Write(item)
	return err
}

// begin appends what stands before the first item.
func (e *jsonEncoder) begin(list wire.ListMeta) (err error) {
	e.begun = true
	e.buf = append(e.buf, '{')
	if list.Kind != "" && list.APIVersion != "" {
		e.typed = true
		if e.buf, err = appendType(e.buf, list); err != nil {
			return err
		}
		e.buf = append(e.buf, ',')
	}
	if !list.IsTable() {
		e.buf = append(e.buf, `"items":[`...)
		return nil
	}
	columns := list.ColumnDefinitions
	if columns == nil {
		columns = []byte("null")
	}
	e.buf = append(append(append(e.buf, `"columnDefinitions":`...), columns...), `,"rows":[`...)
	return nil
}

func (e *jsonEncoder) Finish(list wire.ListMeta) (err error) {
	e.buf = e.buf[:0]
	if !e.begun {
		if err := e.begin(list); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']', ',')
	if !e.typed {
		if e.buf, err = appendType(e.buf, list); err != nil {
			return err
		}
		e.buf = append(e.buf, ',')
	}
	metadata, err := json.Marshal(metadataOf(list))
	if err != nil {
		return fmt.Errorf("write metadata of list: %w", err)
	}
	e.buf = append(append(append(e.buf, `"metadata":`...), metadata...), "}\n"...)
	return e.write()
}

func (e *jsonEncoder) write() error {
	_, err := e.w.Write(e.buf)
	return err
}

func appendType(dst []byte, list wire.ListMeta) ([]byte, error) {
	data, err := json.Marshal(typeOf(list))
	if err != nil {
		return nil, fmt.Errorf("write kind of list: %w", err)
	}
	return append(dst, bytes.Trim(data, "{}")...), nil
}

// listType and listMetadata are the fields of any list but its items.
type (
	listType struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	listMetadata struct {
		ResourceVersion    string `json:"resourceVersion,omitempty"`
		Continue           string `json:"continue,omitempty"`
		RemainingItemCount *int64 `json:"remainingItemCount,omitempty"`
	}
)

func typeOf(list wire.ListMeta) listType { return listType{list.Kind, list.APIVersion} }

func metadataOf(list wire.ListMeta) listMetadata {
	return listMetadata{list.ResourceVersion, list.Continue, list.RemainingItemCount}
}

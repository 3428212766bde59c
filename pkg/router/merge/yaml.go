package merge

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// NewYAML returns an encoder that makes YAML of items in JSON, and writes each as it comes: to convert a list as a whole
// takes many times its size. As in JSON, the metadata comes last.
func NewYAML(w io.Writer) Encoder { return &yamlEncoder{w: w} }

type yamlEncoder struct {
	w     io.Writer
	buf   []byte
	begun bool
	// typed is true when the kind is written, at the beginning where it was known then.
	typed bool
}

func (e *yamlEncoder) Item(list wire.ListMeta, item []byte) error {
	e.buf = e.buf[:0]
	if !e.begun {
		if err := e.begin(list, ""); err != nil {
			return err
		}
	}
	// A list of one looks as that one does in any list.
	text, err := yaml.JSONToYAML(slices.Concat([]byte("["), item, []byte("]")))
	if err != nil {
		return fmt.Errorf("convert item to YAML: %w", err)
	}
	e.buf = append(e.buf, text...)
	return e.write()
}

// begin appends what stands before the first item, and what there is instead of items.
func (e *yamlEncoder) begin(list wire.ListMeta, items string) error {
	e.begun = true
	if list.Kind != "" && list.APIVersion != "" {
		e.typed = true
		if err := e.append(typeOf(list)); err != nil {
			return err
		}
	}
	name := "items:"
	if list.IsTable() {
		name = "rows:"
		columns := list.ColumnDefinitions
		if columns == nil {
			columns = []byte("null")
		}
		if err := e.append(map[string]any{"columnDefinitions": json.RawMessage(columns)}); err != nil {
			return err
		}
	}
	e.buf = append(append(append(e.buf, name...), items...), '\n')
	return nil
}

func (e *yamlEncoder) Finish(list wire.ListMeta) error {
	e.buf = e.buf[:0]
	if !e.begun {
		if err := e.begin(list, " []"); err != nil {
			return err
		}
	}
	if !e.typed {
		if err := e.append(typeOf(list)); err != nil {
			return err
		}
	}
	if err := e.append(map[string]any{"metadata": metadataOf(list)}); err != nil {
		return err
	}
	return e.write()
}

// append appends the fields of a value.
func (e *yamlEncoder) append(fields any) error {
	text, err := yaml.Marshal(fields)
	if err != nil {
		return fmt.Errorf("convert list to YAML: %w", err)
	}
	e.buf = append(e.buf, text...)
	return nil
}

func (e *yamlEncoder) write() error {
	_, err := e.w.Write(e.buf)
	return err
}

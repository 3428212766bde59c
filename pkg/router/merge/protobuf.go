package merge

import (
	"io"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// NewProtobuf returns an encoder of a list in protobuf. Its length stands at its beginning, so that the items are kept
// in spool and nothing is written to w before Finish: until then any failure can still be told.
func NewProtobuf(w io.Writer, spool *Spool) Encoder { return &protobufEncoder{w: w, spool: spool} }

type protobufEncoder struct {
	w     io.Writer
	spool *Spool
	head  []byte
}

func (p *protobufEncoder) Item(list wire.ListMeta, item []byte) error {
	p.head = list.AppendItemHead(p.head[:0], len(item))
	if _, err := p.spool.Write(p.head); err != nil {
		return err
	}
	_, err := p.spool.Write(item)
	return err
}

func (p *protobufEncoder) Finish(list wire.ListMeta) error {
	if _, err := p.w.Write(list.AppendEnvelope(nil, p.spool.Size())); err != nil {
		return err
	}
	if _, err := p.spool.WriteTo(p.w); err != nil {
		return err
	}
	// What an apiserver writes behind the message: no encoding and no content type.
	_, err := p.w.Write([]byte{0x1a, 0, 0x22, 0})
	return err
}

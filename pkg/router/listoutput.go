package router

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// chunk is how much of an answer is written at once, in bytes: each piece costs a connection a frame and a wakeup.
const chunk = 64 << 10

// listOutput is the answer to a list. It begins when the answer is large enough to be compressed, or at its end; until
// then a failure can be answered instead.
type listOutput struct {
	l *listing
	// held is what is not written yet.
	held bytes.Buffer
	// committed is true when the answer has begun.
	committed bool
	// chunks is the way to the client from then on, past compressed where the answer is.
	chunks     *bufio.Writer
	compressed *gzip.Writer
	spool      *merge.Spool
}

func (l *listing) output() *listOutput {
	return &listOutput{l: l, spool: merge.NewSpool("")}
}

// encoder returns what writes the list to w in the encoding that the sources chose, all the same one.
func (o *listOutput) encoder(w io.Writer) (merge.Encoder, error) {
	first := o.l.first()
	if first == nil {
		return nil, apierrors.NewBadRequest("invalid continue token: it has no position in any cell that is asked")
	}
	for _, s := range o.l.sources {
		if s.header != nil && s.format != first.format {
			return nil, s.failed(fmt.Errorf("it answers in %q, %s in %q", s.header.Get("Content-Type"), first.plane.Name(), first.header.Get("Content-Type")))
		}
	}
	switch {
	case first.format == wire.Protobuf:
		return merge.NewProtobuf(w, o.spool), nil
	case o.l.asYAML:
		return merge.NewYAML(w), nil
	}
	return merge.NewJSON(w), nil
}

// first is the first source that has answered.
func (l *listing) first() *listSource {
	for _, s := range l.sources {
		if s.header != nil {
			return s
		}
	}
	return nil
}

// Write takes a piece of the answer.
func (o *listOutput) Write(data []byte) (int, error) {
	if o.committed {
		return o.chunks.Write(data)
	}
	o.held.Write(data)
	if o.held.Len() > gzipFrom {
		if err := o.commit(); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// commit begins an answer whose length is not known, and writes what was held.
func (o *listOutput) commit() error {
	header := o.header()
	o.chunks = bufio.NewWriterSize(o.l.w, chunk)
	if acceptsGzip(o.l.r) {
		header.Set("Content-Encoding", "gzip")
		header.Add("Vary", "Accept-Encoding")
		compressed, err := gzip.NewWriterLevel(o.l.w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		o.compressed = compressed
		o.chunks.Reset(compressed)
	}
	o.committed = true
	o.l.w.WriteHeader(http.StatusOK)
	_, err := o.chunks.Write(o.held.Bytes())
	o.held = bytes.Buffer{}
	return err
}

// header sets what the answer has in any case: the warnings of all sources, each once.
func (o *listOutput) header() http.Header {
	header := o.l.w.Header()
	contentType := o.l.first().header.Get("Content-Type")
	if o.l.asYAML && o.l.first().format == wire.JSON {
		contentType = runtime.ContentTypeYAML
	}
	header.Set("Content-Type", contentType)
	seen := map[string]bool{}
	for _, s := range o.l.sources {
		for _, warning := range s.header.Values("Warning") {
			if !seen[warning] {
				seen[warning] = true
				header.Add("Warning", warning)
			}
		}
	}
	return header
}

// end completes the answer.
func (o *listOutput) end() error {
	switch {
	case o.compressed != nil:
		return errors.Join(o.chunks.Flush(), o.compressed.Close())
	case o.committed:
		return o.chunks.Flush()
	}
	o.header().Set("Content-Length", strconv.Itoa(o.held.Len()))
	o.committed = true
	o.l.w.WriteHeader(http.StatusOK)
	_, err := o.l.w.Write(o.held.Bytes())
	return err
}

// close gives back what was held.
func (o *listOutput) close() { _ = o.spool.Close() }

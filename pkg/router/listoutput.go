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
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// chunk is how much of an answer is written at once, in bytes: each piece costs a connection a frame and a wakeup.
const chunk = 64 << 10

// maxYAML bounds a list in YAML, in bytes of the JSON that it is made of: it is converted as a whole.
const maxYAML = 32 << 20

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
	if first.format == wire.Protobuf {
		return merge.NewProtobuf(w, o.spool), nil
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

func (o *listOutput) asYAML() bool { return o.l.asYAML && o.l.first().format == wire.JSON }

// Write takes a piece of the answer.
func (o *listOutput) Write(data []byte) (int, error) {
	if o.committed {
		return o.chunks.Write(data)
	}
	o.held.Write(data)
	switch {
	case o.asYAML() && o.held.Len() > maxYAML:
		return 0, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the list is too large for YAML; ask for %s, or for less at once by limit", runtime.ContentTypeJSON))
	case !o.asYAML() && o.held.Len() > gzipFrom:
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
	if o.asYAML() {
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
	data := o.held.Bytes()
	if o.asYAML() {
		converted, err := yaml.JSONToYAML(data)
		if err != nil {
			return fmt.Errorf("convert list to YAML: %w", err)
		}
		data = converted
	}
	if len(data) > gzipFrom {
		o.held = *bytes.NewBuffer(data)
		if err := o.commit(); err != nil {
			return err
		}
		return o.end()
	}
	o.header().Set("Content-Length", strconv.Itoa(len(data)))
	o.committed = true
	o.l.w.WriteHeader(http.StatusOK)
	_, err := o.l.w.Write(data)
	return err
}

// close gives back what was held.
func (o *listOutput) close() { _ = o.spool.Close() }

package router

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// gzipFrom is the size from which an answer is compressed, in bytes: the apiserver's own.
	gzipFrom = 128 << 10
	// keptBuffer is the largest buffer that is kept for the next answer, in bytes.
	keptBuffer = 1 << 20
)

var errTooLarge = errors.New("its answer is larger than any object")

// answerVersioned passes an answer on with the versions of its objects as the router shows them. Refusals
// and whatever is no object pass untouched.
func (h *handler) answerVersioned(w http.ResponseWriter, r *http.Request, plane *upstream.ControlPlane, answer *http.Response, slot int, asYAML bool) {
	format, ok := formatOf(answer.Header.Get("Content-Type"))
	if !ok || answer.StatusCode >= http.StatusMultipleChoices && !asYAML {
		plane.Pass(w, answer)
		return
	}
	in, out := h.buffer(), h.buffer()
	defer h.keep(in)
	defer h.keep(out)
	err := readAnswer(in, answer)
	if err == nil && answer.StatusCode < http.StatusMultipleChoices {
		*out, err = format.AppendVersioned(*out, *in, stamp(slot))
	} else if err == nil {
		*out = append(*out, *in...)
	}
	contentType := answer.Header.Get("Content-Type")
	if err == nil && asYAML && format == wire.JSON {
		contentType = runtime.ContentTypeYAML
		*out, err = yaml.JSONToYAML(*out)
	}
	if err != nil {
		h.noAnswer(w, r, plane.Name(), fmt.Errorf("read its answer: %w", err))
		return
	}
	header := w.Header()
	upstream.CopyHeader(header, answer.Header)
	header["Content-Type"] = []string{contentType}
	if len(*out) > gzipFrom && acceptsGzip(r) {
		writeGzip(w, answer.StatusCode, *out)
		return
	}
	header["Content-Length"] = []string{strconv.Itoa(len(*out))}
	w.WriteHeader(answer.StatusCode)
	// An error here is the client's connection; there is nobody left to tell.
	_, _ = w.Write(*out)
}

// readAnswer reads a whole answer and closes it.
func readAnswer(buffer *[]byte, answer *http.Response) error {
	defer answer.Body.Close()
	if answer.ContentLength > wire.MaxObject {
		return errTooLarge
	}
	if n := int(answer.ContentLength); n > 0 {
		if cap(*buffer) < n {
			*buffer = make([]byte, n)
		}
		*buffer = (*buffer)[:n]
		_, err := io.ReadFull(answer.Body, *buffer)
		return err
	}
	for {
		if len(*buffer) == cap(*buffer) {
			*buffer = append(*buffer, 0)[:len(*buffer)]
		}
		n, err := answer.Body.Read((*buffer)[len(*buffer):cap(*buffer)])
		*buffer = (*buffer)[:len(*buffer)+n]
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case len(*buffer) > wire.MaxObject:
			return errTooLarge
		}
	}
}

// formatOf returns how an answer is encoded, and false for what is neither JSON nor protobuf.
func formatOf(contentType string) (wire.Format, bool) {
	media := contentType
	if strings.Contains(contentType, ";") {
		// What does not parse is of no type that is known here.
		media, _, _ = mime.ParseMediaType(contentType)
	}
	switch media {
	case runtime.ContentTypeJSON:
		return wire.JSON, true
	case runtime.ContentTypeProtobuf:
		return wire.Protobuf, true
	}
	return 0, false
}

// stamp returns the version that a router shows for an object in the cell of slot; "", which changes
// nothing, for one without a version.
func stamp(slot int) func(wire.Meta) string {
	return func(m wire.Meta) string {
		raw, err := version.ParseRaw(m.ResourceVersion)
		if err != nil {
			return ""
		}
		return stream.ObjectVersion(m, raw, slot)
	}
}

func rawDigits(raw int64) string { return strconv.FormatInt(raw, 10) }

// buffer returns an empty one; keep gives it back.
func (h *handler) buffer() *[]byte {
	if b, ok := h.buffers.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, 16<<10)
	return &b
}

func (h *handler) keep(b *[]byte) {
	if cap(*b) <= keptBuffer {
		h.buffers.Put(b)
	}
}

func acceptsGzip(r *http.Request) bool {
	for _, value := range r.Header["Accept-Encoding"] {
		for token := range strings.SplitSeq(value, ",") {
			if strings.TrimSpace(token) == "gzip" {
				return true
			}
		}
	}
	return false
}

func writeGzip(w http.ResponseWriter, code int, data []byte) {
	header := w.Header()
	header.Del("Content-Length")
	header["Content-Encoding"] = []string{"gzip"}
	header.Add("Vary", "Accept-Encoding")
	w.WriteHeader(code)
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant that exists
	}
	// Errors here are the client's connection; there is nobody left to tell.
	_, _ = compressed.Write(data)
	_ = compressed.Close()
}

// noPlane is the refusal of a request to a control plane that there is no way to, or none to tell apart.
func noPlane(source string, err error) error { return route.Unavailable(source, err.Error()) }

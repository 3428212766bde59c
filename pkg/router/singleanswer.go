package router

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/quota"
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

// seen is what an answer says of the object.
type seen int

const (
	// shown is whatever the client may see.
	shown seen = iota
	// absent is 404: there is no such object.
	absent
	// fenced is the refusal of a write to an object that is on the move.
	fenced
	// left is a tombstone: the object has moved elsewhere.
	left
	// arriving is a copy that does not count yet.
	arriving
	// taken is the refusal of a create because something has that name.
	taken
)

// exchange is a request for one object and the answer of the control plane that it was sent to.
type exchange struct {
	h      *handler
	r      *http.Request
	info   *request.RequestInfo
	plane  *upstream.ControlPlane
	slot   int
	asYAML bool
	// accounted is true where success has to be put into the ledger.
	accounted bool
	// protected is set where success is not told before the object's envelope is stored. refusal is what is told in the
	// place of the answer: where that failed, or where a part of a quota does not follow.
	protected *protected
	refusal   error
	answer    *http.Response
	// of is the object of a Scale, or the one that was evicted, nil for other answers.
	of *metav1.PartialObjectMetadata
	// seen is what the answer says of the object.
	seen seen
	// over is what the cell says of its part of a quota that would be exceeded, nil where it says nothing of that.
	// busy is true where it failed to count, and full is the refusal by all cells, nil where only one refuses.
	over, full *quota.Refusal
	busy       bool
	// out is the answer's body as the client gets it, in a buffer of the handler's; nil where it is passed on unread.
	out *[]byte
}

// look reads as much of the answer as it takes to know what it says of the object.
func (x *exchange) look() error {
	switch code := x.answer.StatusCode; {
	case code == http.StatusNotFound:
		x.seen = absent
	case code == http.StatusForbidden, code == http.StatusUnprocessableEntity, code == http.StatusConflict && x.info.Verb == "create":
		return x.lookAtRefusal()
	}
	contentType := x.answer.Header.Get("Content-Type")
	format, ok := formatOf(contentType)
	if !ok || x.answer.StatusCode >= http.StatusMultipleChoices && !x.asYAML {
		x.account(answered{})
		return nil
	}
	said := answered{contentType: contentType}
	in, out := x.h.buffer(), x.h.buffer()
	defer x.h.keep(in)
	x.out = out
	err := readAnswer(in, x.answer)
	switch {
	case err != nil:
	case x.answer.StatusCode < http.StatusMultipleChoices:
		*out, err = format.AppendVersioned(*out, *in, func(m wire.Meta) string {
			x.seen, said.meta = seenOf(m), m
			return stamp(x.slot)(x.moved(m))
		})
		if said.body = *in; err == nil {
			x.account(said)
		}
	default:
		*out = append(*out, *in...)
	}
	if err == nil && wantsNoObjects(x.r.URL.RawQuery) {
		*out, err = withoutObjects(format, *out)
	}
	if err == nil && x.asYAML && format == wire.JSON {
		x.answer.Header.Set("Content-Type", runtime.ContentTypeYAML)
		*out, err = yaml.JSONToYAML(*out)
	}
	return err
}

// withoutObjects takes the objects out of the rows, if the answer is a Table.
func withoutObjects(format wire.Format, answer []byte) ([]byte, error) {
	apiVersion, kind, err := format.ReadKind(answer)
	if err != nil || kind != "Table" || !strings.HasPrefix(apiVersion, metav1.GroupName+"/") {
		return answer, err
	}
	return format.WithoutObjects(answer)
}

// account puts the write into the ledger, if it is one that succeeded.
func (x *exchange) account(said answered) {
	if x.accounted && x.answer.StatusCode < http.StatusMultipleChoices {
		info := x.info
		if evicts(info) {
			info, said = evicted(info, x.of)
		}
		x.h.account(x.plane.Name(), info, said)
		if x.protected != nil && x.seen == shown {
			x.refusal = x.protected.store(x.r, said)
		}
	}
}

// seenOf is what an object in a cell is to the router.
func seenOf(m wire.Meta) seen {
	switch v1alpha1.RebalanceStatus(m.RebalanceStatus) {
	case v1alpha1.Migrated:
		return left
	case v1alpha1.Incoming:
		return arriving
	}
	return shown
}

// lookAtRefusal finds out what a refusal is for. The answer can still be passed on.
func (x *exchange) lookAtRefusal() error {
	body, err := io.ReadAll(io.LimitReader(x.answer.Body, maxRefusal))
	if err != nil {
		return err
	}
	// A Status carries its reason as plain text, in JSON and in protobuf.
	switch conflict := x.answer.StatusCode == http.StatusConflict; {
	case conflict && bytes.Contains(body, []byte(metav1.StatusReasonAlreadyExists)):
		x.seen = taken
	case !conflict && bytes.Contains(body, []byte(fence.MessagePrefix)):
		x.seen = fenced
	case conflict:
		x.busy = busyQuota(x.info, body)
	default:
		if over, ok := quota.ParseRefusal(body); ok {
			x.over = &over
		}
	}
	rest := x.answer.Body
	x.answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	return nil
}

// discard ends an exchange whose answer the client does not get.
func (x *exchange) discard() {
	_ = x.answer.Body.Close()
	if x.out != nil {
		x.h.keep(x.out)
		x.out = nil
	}
}

// answerTo passes the answer on, with the versions of its objects as the router shows them. Refusals and whatever is
// no object pass untouched.
func (x *exchange) answerTo(w http.ResponseWriter) {
	if x.refusal != nil {
		x.discard()
		x.h.fail(w, x.r, x.refusal)
		return
	}
	if x.full != nil {
		x.refuse(w)
		return
	}
	if x.out == nil && x.asYAML {
		x.refusalAsYAML()
	}
	if x.out == nil {
		x.plane.Pass(w, x.answer)
		return
	}
	defer x.discard()
	out, header := *x.out, w.Header()
	upstream.CopyHeader(header, x.answer.Header)
	if len(out) > gzipFrom && acceptsGzip(x.r) {
		writeGzip(w, x.answer.StatusCode, out)
		return
	}
	header["Content-Length"] = []string{strconv.Itoa(len(out))}
	w.WriteHeader(x.answer.StatusCode)
	// An error here is the client's connection; there is nobody left to tell.
	_, _ = w.Write(out)
}

// refusalAsYAML converts a refusal that could have been passed on unread.
func (x *exchange) refusalAsYAML() {
	if format, ok := formatOf(x.answer.Header.Get("Content-Type")); !ok || format != wire.JSON {
		return
	}
	in := x.h.buffer()
	defer x.h.keep(in)
	err := readAnswer(in, x.answer)
	if err == nil {
		var out []byte
		out, err = yaml.JSONToYAML(*in)
		x.out = &out
	}
	if err != nil {
		panic(http.ErrAbortHandler) // as where what is passed on breaks off
	}
	x.answer.Header.Set("Content-Type", runtime.ContentTypeYAML)
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

package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// listSource is the list of one source, page after page: a merge.Part. Its errors are of type *failedPart.
type listSource struct {
	plane *upstream.ControlPlane
	slot  int
	query *listQuery
	// request is the client's, to send on with another query.
	request *http.Request
	accept  string
	// next is the query of the next page, nil where none follows.
	next url.Values
	// after are the sources that keys move from to this one: it is asked when they have answered. So whatever one of them
	// has given away is here already, as a copy at least, and the position of the list is exact for it.
	after []*listSource
	// asked is closed when the source has answered, or will not be asked.
	asked     chan struct{}
	askedOnce sync.Once

	answer *http.Response
	reader *wire.ListReader
	// header and format are those of the first page's answer, nil and 0 where there is none.
	header http.Header
	format wire.Format
	// out is the item that was given out last.
	out []byte
	// at is where the source stood when the list began, 0 where that is not known yet.
	at int64
	// list is what the page that is read, or was read last, says of itself.
	list wire.ListMeta
}

// List is what the page that is read says of itself, as far as it is known.
func (s *listSource) List() wire.ListMeta { return s.list }

// Next returns the next item of the source, as the client shall see it.
func (s *listSource) Next() (wire.Item, error) {
	for {
		if s.reader == nil {
			if s.next == nil {
				return wire.Item{}, io.EOF
			}
			if err := s.open(); err != nil {
				return wire.Item{}, err
			}
		}
		item, err := s.reader.Next()
		if err == nil {
			s.list = s.reader.List()
			if s.out, err = s.appendItem(s.out[:0], item); err != nil {
				return wire.Item{}, s.failed(err)
			}
			return wire.Item{Meta: item.Meta, Raw: s.out}, nil
		}
		if err := s.turn(err); err != nil {
			return wire.Item{}, err
		}
	}
}

// appendItem appends an item as the client shall see it.
func (s *listSource) appendItem(dst []byte, item wire.Item) ([]byte, error) {
	if s.query.bare && s.list.IsTable() {
		return item.AppendWithoutObject(dst), nil
	}
	raw, err := version.ParseRaw(item.Meta.ResourceVersion)
	if err != nil {
		return append(dst, item.Raw...), nil //nolint:nilerr // it has no version that could be shown
	}
	return item.AppendVersioned(dst, stream.ObjectVersion(item.Meta, raw, s.slot))
}

func (s *listSource) failed(err error) error { return &failedPart{source: s.plane.Name(), err: err} }

// open asks for the next page.
func (s *listSource) open() error {
	defer s.answered()
	for _, before := range s.after {
		select {
		case <-before.asked:
		case <-s.request.Context().Done():
			return s.failed(s.request.Context().Err())
		}
	}
	out := s.request.Clone(s.request.Context())
	out.Method = http.MethodGet // the client's may be DELETE, of a collection
	out.Header.Set("Accept", s.accept)
	out.URL.RawQuery = s.next.Encode()
	out.Body, out.ContentLength = http.NoBody, 0
	s.next = nil
	answer, err := s.plane.Do(out)
	if err != nil {
		return s.failed(err)
	}
	if answer.StatusCode != http.StatusOK {
		return s.refused(answer)
	}
	format, ok := formatOf(answer.Header.Get("Content-Type"))
	if !ok {
		_ = answer.Body.Close()
		return s.failed(fmt.Errorf("its list is %q", answer.Header.Get("Content-Type")))
	}
	s.answer = answer
	if s.header == nil {
		s.header, s.format = answer.Header, format
	}
	if format != s.format {
		return s.failed(fmt.Errorf("it answers in %q, then in %q", s.header.Get("Content-Type"), answer.Header.Get("Content-Type")))
	}
	s.reader = wire.NewListReader(format, answer.Body)
	return nil
}

// answered lets those begin that wait for this source.
func (s *listSource) answered() {
	if s.asked != nil {
		s.askedOnce.Do(func() { close(s.asked) })
	}
}

// refused reads the Status of an answer that is no list.
func (s *listSource) refused(answer *http.Response) error {
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil {
		return s.failed(errors.Join(errors.New(answer.Status), err))
	}
	return &failedPart{source: s.plane.Name(), answer: answer, body: body}
}

// turn ends a page and prepares for the next one, if the page says that there is one.
func (s *listSource) turn(end error) error {
	_ = s.answer.Body.Close()
	if end != io.EOF { //nolint:errorlint // an error that wraps it is a connection that broke off
		return s.failed(end)
	}
	s.list = s.reader.List()
	s.reader = nil
	if err := s.locate(); err != nil {
		return err
	}
	if s.list.Continue != "" {
		s.next = s.query.following(s.list.Continue)
	}
	return nil
}

// locate takes down where the source stood, the first time that a page says so.
func (s *listSource) locate() error {
	if s.at > 0 {
		return nil
	}
	raw, err := version.ParseRaw(s.list.ResourceVersion)
	if err != nil {
		return s.failed(fmt.Errorf("the version of its list: %w", err))
	}
	s.at = raw
	return nil
}

// settle finds out where the source stood, if need be by reading its page to the end: some lists say it last.
func (s *listSource) settle() error {
	if s.at > 0 || s.answer == nil {
		return nil
	}
	for s.list.ResourceVersion == "" && s.reader != nil {
		if _, err := s.reader.Next(); err != nil {
			if err := s.turn(err); err != nil {
				return err
			}
		}
	}
	return s.locate()
}

func (s *listSource) close() {
	if s.answer != nil {
		_ = s.answer.Body.Close()
	}
}

// newListSources prepares one for each source.
func (l *listing) newListSources(ctx context.Context, names []string) error {
	for _, name := range names {
		plane, slot, err := sourceOf(l.state, name)
		if err != nil {
			return err
		}
		s := &listSource{plane: plane, slot: slot, query: l.query, request: l.r.WithContext(ctx), accept: l.accept, asked: make(chan struct{})}
		if s.next, err = l.query.first(slot); err != nil {
			return err
		}
		if t := l.query.token; t != nil && !t.Inconsistent {
			s.at = t.At.Raw(slot)
		}
		if s.next == nil {
			s.answered()
		}
		l.sources = append(l.sources, s)
	}
	for _, s := range l.sources {
		for _, before := range l.sources {
			if l.state.Snapshot.Tide(before.plane.Name()) < l.state.Snapshot.Tide(s.plane.Name()) {
				s.after = append(s.after, before)
			}
		}
	}
	return nil
}

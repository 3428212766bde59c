package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// jsonList reads a list in JSON. Its keys come in any order.
type jsonList struct {
	window
	// opened, inItems and hasItems say how far it is: behind the first bracket, among the items, behind them.
	opened, inItems, hasItems bool
	// rows is true where the items are rows of a Table.
	rows bool
	// later is true behind the first member, or among the items behind the first of them.
	later    bool
	document document
}

func (l *jsonList) next(list *ListMeta) (Item, error) {
	for {
		if l.inItems {
			more, err := l.separator(']')
			if err != nil {
				return Item{}, err
			}
			if more {
				return l.item()
			}
			l.inItems, l.later = false, true
		}
		if err := l.open(); err != nil {
			return Item{}, err
		}
		more, err := l.separator('}')
		if err != nil {
			return Item{}, err
		}
		if !more {
			return Item{}, l.close()
		}
		if err := l.member(list); err != nil {
			return Item{}, err
		}
	}
}

// open consumes the bracket that the list begins with.
func (l *jsonList) open() error {
	if l.opened {
		return nil
	}
	l.opened = true
	return l.parse(func(s *scanner) error { return s.expect('{') })
}

// close makes sure that it was a list and that nothing follows it.
func (l *jsonList) close() error {
	if !l.hasItems {
		return errors.New("read list: it has neither items nor rows")
	}
	end, err := l.atEnd()
	if err == nil && !end {
		err = errors.New("read list: something follows it")
	}
	if err != nil {
		return err
	}
	return io.EOF
}

// separator consumes what stands before the next member or item, up to its first byte, and says whether there is one.
func (l *jsonList) separator(end byte) (more bool, err error) {
	err = l.parse(func(s *scanner) error {
		c, err := s.peek()
		if err != nil {
			return err
		}
		more = true
		if !l.later {
			if c == end {
				s.pos++
				more = false
			}
			return nil
		}
		if more, err = s.another(end); err != nil || !more {
			return err
		}
		_, err = s.peek()
		return err
	})
	l.later = true
	return more, err
}

// item reads the item that begins here.
func (l *jsonList) item() (Item, error) {
	var raw []byte
	err := l.parse(func(s *scanner) (err error) {
		l.document.reset()
		if l.rows {
			_, err = l.document.readRow(s)
		} else {
			err = l.document.read(s)
		}
		raw = s.data[:s.pos]
		return err
	})
	if err != nil {
		return Item{}, fmt.Errorf("read item of list: %w", err)
	}
	return Item{Meta: l.document.meta(), Raw: raw, document: &l.document}, nil
}

// member reads one member of the list itself, or the beginning of its items.
func (l *jsonList) member(list *ListMeta) error {
	var got ListMeta
	var opens bool
	var key []byte
	err := l.parse(func(s *scanner) error {
		return s.member(func(k []byte) (err error) {
			key = k
			opens, err = got.readMember(s, k)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("read list: %w", err)
	}
	switch string(key) {
	case "kind":
		list.Kind = got.Kind
	case "apiVersion":
		list.APIVersion = got.APIVersion
	case "metadata":
		list.ResourceVersion, list.Continue, list.RemainingItemCount = got.ResourceVersion, got.Continue, got.RemainingItemCount
	case "columnDefinitions":
		list.ColumnDefinitions = got.ColumnDefinitions
	case "items", "rows":
		if l.hasItems {
			return errors.New("read list: it has items twice")
		}
		l.hasItems, l.inItems, l.later = true, opens, !opens
		l.rows = string(key) == "rows"
	}
	return nil
}

// readMember reads the value of one member; at items that there are it stops behind their bracket and says so.
func (m *ListMeta) readMember(s *scanner, key []byte) (opens bool, err error) {
	var text []byte
	switch string(key) {
	case "kind":
		text, err = s.optionalText()
		m.Kind = string(text)
	case "apiVersion":
		text, err = s.optionalText()
		m.APIVersion = string(text)
	case "metadata":
		err = m.readMetadata(s)
	case "columnDefinitions":
		if _, err = s.peek(); err != nil {
			return false, err
		}
		start := s.pos
		err = s.skip()
		m.ColumnDefinitions = bytes.Clone(s.data[start:s.pos])
	case "items", "rows":
		var null bool
		if null, err = s.null(); null || err != nil {
			return false, err
		}
		return true, s.expect('[')
	default:
		err = s.skip()
	}
	return false, err
}

func (m *ListMeta) readMetadata(s *scanner) error {
	if _, err := s.peek(); err != nil {
		return err
	}
	if s.data[s.pos] != '{' {
		return s.skip()
	}
	return s.object(func(key []byte) (err error) {
		var text []byte
		switch string(key) {
		case "resourceVersion":
			text, err = s.optionalText()
			m.ResourceVersion = string(text)
		case "continue":
			text, err = s.optionalText()
			m.Continue = string(text)
		case "remainingItemCount":
			m.RemainingItemCount, err = s.optionalCount()
		default:
			err = s.skip()
		}
		return err
	})
}

// optionalCount reads a whole number; any other value is skipped and reads as nil.
func (s *scanner) optionalCount() (*int64, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	start := s.pos
	if err := s.skip(); err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(string(s.data[start:s.pos]), 10, 64)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // not a number: the same as none
	}
	return &n, nil
}

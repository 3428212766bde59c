package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// scanner walks over JSON without building anything of it. Its methods leave pos behind what they read; at the end
// of data they return errShort, and the caller may try again with more.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) unexpected(want string) error {
	return fmt.Errorf("JSON has %q at byte %d where %s should be", s.data[s.pos], s.pos, want)
}

// peek returns the first byte that is not white space and stays before it.
func (s *scanner) peek() (byte, error) {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, nil
		}
	}
	return 0, errShort
}

// expect consumes c, white space before it included.
func (s *scanner) expect(c byte) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.unexpected(fmt.Sprintf("%q", c))
	}
	s.pos++
	return nil
}

// text reads a string and returns what is between its quotes, still escaped.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.pos
	for at := start; ; {
		quote := bytes.IndexByte(s.data[at:], '"')
		if quote < 0 {
			return nil, errShort
		}
		at += quote
		// A quote is escaped by an odd number of backslashes before it.
		slash := at
		for slash > start && s.data[slash-1] == '\\' {
			slash--
		}
		if (at-slash)%2 == 0 {
			s.pos = at + 1
			return s.data[start:at], nil
		}
		at++
	}
}

// unescaped turns what text returned into the string that it stands for.
func unescaped(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw, nil
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return nil, fmt.Errorf("read JSON string: %w", err)
	}
	return []byte(out), nil
}

// null consumes the literal null and says whether it was there.
func (s *scanner) null() (bool, error) {
	c, err := s.peek()
	if err != nil || c != 'n' {
		return false, err
	}
	const null = "null"
	if rest := s.data[s.pos:]; len(rest) < len(null) && strings.HasPrefix(null, string(rest)) {
		return false, errShort
	}
	if !bytes.HasPrefix(s.data[s.pos:], []byte(null)) {
		return false, s.unexpected("a value")
	}
	s.pos += len(null)
	return true, nil
}

// optionalText reads a string that counts; any other value is skipped and reads as nil.
func (s *scanner) optionalText() ([]byte, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	if c != '"' {
		return nil, s.skip()
	}
	raw, err := s.text()
	if err != nil {
		return nil, err
	}
	return unescaped(raw)
}

// skip passes over one value, whatever it is.
func (s *scanner) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '"':
		_, err = s.text()
		return err
	case '{', '[':
		return s.skipNested()
	default:
		return s.skipLiteral()
	}
}

// skipNested passes over an object or array by counting brackets.
func (s *scanner) skipNested() error {
	depth := 0
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			if _, err := s.text(); err != nil {
				return err
			}
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case '}', ']':
			if depth--; depth == 0 {
				s.pos++
				return nil
			}
		}
		s.pos++
	}
	return errShort
}

// skipLiteral passes over a number, true, false or null. One that reaches the end of data may go on after it.
func (s *scanner) skipLiteral() error {
	start := s.pos
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '+', c == '.':
		case s.pos == start:
			return s.unexpected("a value")
		default:
			return nil
		}
	}
	return errShort
}

// object reads an object and calls visit for each key; visit consumes the value.
func (s *scanner) object(visit func(key []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '}' {
		s.pos++
		return nil
	}
	for {
		if err := s.member(visit); err != nil {
			return err
		}
		more, err := s.another('}')
		if !more {
			return err
		}
	}
}

func (s *scanner) member(visit func(key []byte) error) error {
	raw, err := s.text()
	if err != nil {
		return err
	}
	key, err := unescaped(raw)
	if err != nil {
		return err
	}
	if err := s.expect(':'); err != nil {
		return err
	}
	return visit(key)
}

// another consumes the comma before a further member, or the bracket that closes, and tells which it was.
func (s *scanner) another(end byte) (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	if c != ',' && c != end {
		return false, s.unexpected(fmt.Sprintf("a comma or %q", end))
	}
	s.pos++
	return c == ',', nil
}

// array reads an array and calls visit for each element, which visit consumes.
func (s *scanner) array(visit func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := visit(); err != nil {
			return err
		}
		more, err := s.another(']')
		if !more {
			return err
		}
	}
}

// end says an error where anything but white space is left.
func (s *scanner) end() error {
	if _, err := s.peek(); err == nil {
		return s.unexpected("the end")
	}
	return nil
}

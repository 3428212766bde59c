package merge

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

const (
	// spoolFrom is how much a Spool holds in memory, in bytes. More goes to a file.
	spoolFrom = 16 << 20
	// spoolBlock is how much memory it takes at once, in bytes.
	spoolBlock = 256 << 10
)

// Spool holds what is written to it until it is asked for, with little memory: for answers that must not begin before
// their end is known. The caller closes it.
type Spool struct {
	dir string
	// held are the blocks in memory. Those before filling are full, those behind it empty.
	held    [][]byte
	filling int
	file    *os.File
	size    int64
}

// NewSpool returns an empty one. What is too much for memory goes to a file in dir, or in the system's folder for such
// where dir is "". The file has no name from the moment that it exists, so that no crash leaves it behind.
func NewSpool(dir string) *Spool { return &Spool{dir: dir} }

// Size is how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Write keeps data.
func (s *Spool) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		block, err := s.block()
		if err != nil {
			return 0, fmt.Errorf("keep list: %w", err)
		}
		n := min(len(rest), cap(*block)-len(*block))
		*block = append(*block, rest[:n]...)
		rest = rest[n:]
	}
	s.size += int64(len(data))
	return len(data), nil
}

// block returns the first one that has room.
func (s *Spool) block() (*[]byte, error) {
	if s.filling < len(s.held) && len(s.held[s.filling]) == spoolBlock {
		s.filling++
	}
	if s.filling == spoolFrom/spoolBlock {
		if err := s.toFile(); err != nil {
			return nil, err
		}
		s.filling = 0
	}
	if s.filling == len(s.held) {
		s.held = append(s.held, make([]byte, 0, spoolBlock))
	}
	return &s.held[s.filling], nil
}

// toFile empties the blocks into the file.
func (s *Spool) toFile() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "list-*.tmp")
		if err != nil {
			return err
		}
		s.file = file
		if err := os.Remove(file.Name()); err != nil {
			return err
		}
	}
	for i, block := range s.held {
		if _, err := s.file.Write(block); err != nil {
			return err
		}
		s.held[i] = block[:0]
	}
	return nil
}

// WriteTo writes all of it to w, once.
func (s *Spool) WriteTo(w io.Writer) (int64, error) {
	var n int64
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return 0, fmt.Errorf("read list again: %w", err)
		}
		var err error
		if n, err = bufio.NewReaderSize(s.file, 64<<10).WriteTo(w); err != nil {
			return n, fmt.Errorf("send list: %w", err)
		}
	}
	for _, block := range s.held {
		m, err := w.Write(block)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close removes the file, if there is one.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

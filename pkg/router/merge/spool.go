package merge

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// spoolFrom is how much a Spool holds in memory, in bytes. More goes to a file.
const spoolFrom = 4 << 20

// Spool holds what is written to it until it is asked for, with little memory: for answers that must not begin before
// their end is known. The caller closes it.
type Spool struct {
	dir  string
	held []byte
	file *os.File
	size int64
}

// NewSpool returns an empty one. What is too much for memory goes to a file in dir, or in the system's folder for such
// where dir is "". The file has no name from the moment that it exists, so that no crash leaves it behind.
func NewSpool(dir string) *Spool { return &Spool{dir: dir} }

// Size is how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Write keeps data.
func (s *Spool) Write(data []byte) (int, error) {
	s.held = append(s.held, data...)
	s.size += int64(len(data))
	if len(s.held) >= spoolFrom {
		if err := s.toFile(); err != nil {
			return 0, fmt.Errorf("keep list: %w", err)
		}
	}
	return len(data), nil
}

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
	_, err := s.file.Write(s.held)
	s.held = s.held[:0]
	return err
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
	m, err := w.Write(s.held)
	return n + int64(m), err
}

// Close removes the file, if there is one.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

package where

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// badLine is a line of a file that holds no name.
type badLine struct {
	number int
	err    error
}

// readNames calls use with each name of r: one a line, without blank lines, comments (# to the end
// of the line), surrounding space, carriage returns and a byte order mark. Lines that are no names
// are returned, by number; the others are used all the same. The error is that of reading.
//
// A line may have any length: what cannot be a name is not kept in memory.
func readNames(r io.Reader, use func(line string) error) ([]badLine, error) {
	var bad []badLine
	in := bufio.NewReaderSize(r, 4*maxName)
	for number := 1; ; number++ {
		line, size, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return bad, fmt.Errorf("line %d: %w", number, err)
		}
		end := err != nil
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		switch {
		case size > in.Size() && line != "":
			bad = append(bad, badLine{number, fmt.Errorf("too long for a name (%d bytes)", size)})
		case line != "":
			if err := use(line); err != nil {
				bad = append(bad, badLine{number, err})
			}
		}
		if end {
			return bad, nil
		}
	}
}

// readLine returns the beginning of the next line, as much as the buffer holds, and the length of
// the whole line.
func readLine(in *bufio.Reader) (line string, size int, err error) {
	chunk, err := in.ReadSlice('\n')
	line, size = string(chunk), len(chunk)
	for errors.Is(err, bufio.ErrBufferFull) {
		chunk, err = in.ReadSlice('\n')
		size += len(chunk)
	}
	return line, size, err
}

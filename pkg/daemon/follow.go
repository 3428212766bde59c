package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// tailChunk is how much of a log is looked at in one go, from its end.
const tailChunk = 64 << 10

// Tail writes the last lines of a log, all of them where lines is negative, and returns the offset at
// which the next one begins. A log that is missing is an error that wraps [fs.ErrNotExist].
func Tail(w io.Writer, path string, lines int) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	end := info.Size()
	start := int64(0)
	if lines >= 0 {
		if start, err = lastLines(file, end, lines); err != nil {
			return 0, fmt.Errorf("read log: %w", err)
		}
	}
	n, err := io.Copy(w, io.NewSectionReader(file, start, end-start))
	if err != nil {
		return 0, fmt.Errorf("show log: %w", err)
	}
	return start + n, nil
}

// lastLines is the offset of the first of the last lines of a file of size bytes.
func lastLines(file io.ReaderAt, size int64, lines int) (int64, error) {
	chunk := make([]byte, tailChunk)
	if lines == 0 {
		return size, nil
	}
	// The newline at the very end belongs to the last line.
	for end := size; end > 0; {
		start := max(0, end-tailChunk)
		part := chunk[:end-start]
		if _, err := file.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != '\n' || start+int64(i) == size-1 {
				continue
			}
			if lines--; lines <= 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// followPause is how long Follow waits for more to come.
const followPause = 100 * time.Millisecond

// Follow writes what is added to a log from offset on, until ctx ends. A log that is put aside is read to
// its end, then the new one from its beginning; of one that was cut, from its beginning. Only an error of
// reading or writing is returned.
func Follow(ctx context.Context, w io.Writer, path string, offset int64) error {
	var file *os.File
	defer func() {
		if file != nil {
			file.Close()
		}
	}()
	for ctx.Err() == nil {
		if file == nil {
			opened, err := os.Open(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("read log: %w", err)
			}
			file = opened
		}
		if file != nil {
			moved, err := pass(w, file, path, &offset)
			if err != nil {
				return err
			}
			if moved {
				file.Close()
				file, offset = nil, 0
				continue
			}
		}
		_ = pause.For(ctx, followPause)
	}
	return nil
}

// pass writes what is there from offset on. It says whether another file is the log now, of which nothing
// was read yet.
func pass(w io.Writer, file *os.File, path string, offset *int64) (bool, error) {
	// Looked at before reading: whatever is written to a file that was put aside is written by then.
	there, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read log: %w", err)
	}
	mine, err := file.Stat()
	if err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	if mine.Size() < *offset {
		*offset = 0
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.NewSectionReader(file, *offset, mine.Size()-*offset)); err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	*offset += int64(b.Len())
	if _, err := w.Write(b.Bytes()); err != nil {
		return false, fmt.Errorf("show log: %w", err)
	}
	return there != nil && !os.SameFile(there, mine), nil
}

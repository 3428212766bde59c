package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// defaultMaxLog in bytes is that of [Spec.MaxLog].
	defaultMaxLog = 8 << 20
	// tailBytes and tailLines limit what an error repeats of the log.
	tailBytes = 16 << 10
	tailLines = 12
	// PreviousLog is appended to the name of a log that was put aside; there is one of them.
	PreviousLog = ".1"
)

// openLog opens the log for reading and appending, putting aside one that is longer than most bytes, and returns the offset at
// which this run begins.
func openLog(path string, most int64) (*os.File, int64, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > most {
		if err := os.Rename(path, path+PreviousLog); err != nil {
			return nil, 0, fmt.Errorf("put log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open log: %w", err), file.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.Join(fmt.Errorf("log %s is not a file: a daemon's start is read there", path), file.Close())
	}
	return file, info.Size(), nil
}

// logReader follows a log line by line while another process writes it. It has the file open: the process writes to that
// one on its standard output, also when it puts its log aside meanwhile.
type logReader struct {
	file    *os.File
	offset  int64
	partial []byte
}

// lines returns the whole lines that were added since the last call.
func (r *logReader) lines() ([]string, error) {
	data, err := io.ReadAll(io.NewSectionReader(r.file, r.offset, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	r.offset += int64(len(data))
	r.partial = append(r.partial, data...)
	end := bytes.LastIndexByte(r.partial, '\n')
	if end < 0 {
		return nil, nil
	}
	lines := strings.Split(string(r.partial[:end]), "\n")
	r.partial = append([]byte(nil), r.partial[end+1:]...)
	return lines, nil
}

// tail returns the last lines of the log from the offset on, each indented, or "".
func tail(file *os.File, from int64) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from = max(from, info.Size()-tailBytes)
	data, err := io.ReadAll(io.NewSectionReader(file, from, tailBytes))
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "\n    " + strings.Join(lines, "\n    ")
}

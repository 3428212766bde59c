package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// RotatingFile is a log that its own writer keeps short: before a write would make it longer than a
// bound, the file is put aside under its name and [PreviousLog], where it replaces the one before, and a
// new one begins. A write is never split, so that lines stay whole.
type RotatingFile struct {
	path    string
	most    int64
	changed func(*os.File)

	mu   sync.Mutex // guards what follows
	file *os.File   // nil after Close, or while the file cannot be opened
	size int64
	done bool
}

// OpenRotating opens the log at path for appending, making it (0600) where it is missing. changed,
// where set, is called with each file that becomes the log, the first one included, and must not write.
func OpenRotating(path string, most int64, changed func(*os.File)) (*RotatingFile, error) {
	r := &RotatingFile{path: path, most: most, changed: changed}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r, r.open()
}

// Write appends p. While the disk is full it fails, and goes on when there is room again.
func (r *RotatingFile) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return 0, fs.ErrClosed
	}
	if r.file != nil && r.size > 0 && r.size+int64(len(p)) > r.most {
		r.putAside()
	}
	if r.file == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write log: %w", err)
	}
	return n, nil
}

// putAside leaves file nil, and the log where it was if it cannot be put aside: it is written on then.
func (r *RotatingFile) putAside() {
	// Some systems do not rename what is open. What was written is with the kernel; an error of closing
	// says nothing that an error of writing has not said.
	_ = r.file.Close()
	r.file = nil
	if err := os.Rename(r.path, r.path+PreviousLog); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Counted from here, the next attempt comes after as many bytes again, not with each line.
		r.most += r.size
	}
}

// Reopen begins to write to the file that is there under the log's name now: whoever puts logs aside
// by other means asks for it.
func (r *RotatingFile) Reopen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return fs.ErrClosed
	}
	before := r.file
	if err := r.open(); err != nil {
		return err
	}
	if before != nil {
		_ = before.Close() // see putAside
	}
	return nil
}

// open replaces file; it stays what it was on an error.
func (r *RotatingFile) open() error {
	file, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), file.Close())
	}
	r.file, r.size = file, info.Size()
	if r.changed != nil {
		r.changed(file)
	}
	return nil
}

// Close ends the log. Writes fail from then on.
func (r *RotatingFile) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

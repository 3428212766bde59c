// Package atomicfile writes files as a whole: whatever ends the program or the machine meanwhile, there is the old file
// or the new one, and never a part of one. Of several writers at once the last one wins.
//
// Not promised: that a file is still there after a power cut, once it has been written. Its content is on the disk then;
// the folder that has its name may be the one of before.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes or replaces the file at path with what write writes, and gives it that mode. Where anything fails, or write
// returns an error, what was there stays as it is. Errors are those of package os: callers say what they wanted.
func Write(path string, mode fs.FileMode, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // for its owner alone, until it is whole
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // fails once it has been renamed
	err = write(file)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// WriteBytes is Write of what is in memory.
func WriteBytes(path string, mode fs.FileMode, data []byte) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Try makes a file in a folder, which it leaves as it was: modes say nothing of what is mounted read-only, is full, or is
// of no disk.
func Try(folder string) error {
	file, err := os.CreateTemp(folder, ".kubectl-cell-")
	if err != nil {
		return err
	}
	_, err = file.WriteString("x")
	return errors.Join(err, file.Close(), os.Remove(file.Name()))
}

package packaging_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// entry is a file of an archive or a package.
type entry struct {
	mode    fs.FileMode
	content []byte
}

func (e entry) equal(other entry) bool {
	return e.mode == other.mode && bytes.Equal(e.content, other.content)
}

// contents are the files of an archive or a package, by their paths without a slash in front.
type contents map[string]entry

// add adds a file; each is there once.
func (c contents) add(name string, mode fs.FileMode, content []byte) error {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if _, there := c[name]; there {
		return fmt.Errorf("there are two of %s", name)
	}
	c[name] = entry{mode.Perm(), content}
	return nil
}

// readArchive reads an archive or a package, of the kind that its name says.
func readArchive(file string) (contents, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	read := map[string]func([]byte) (contents, error){".gz": readTar, ".zip": readZip, ".deb": readDeb, ".rpm": readRPM}[filepath.Ext(file)]
	if read == nil {
		return nil, fmt.Errorf("%s is no archive", file)
	}
	out, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	return out, nil
}

// readTar reads a tar that is compressed by gzip.
func readTar(data []byte) (contents, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out := contents{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		content, err := io.ReadAll(archive)
		if err == nil {
			err = out.add(header.Name, header.FileInfo().Mode(), content)
		}
		if err != nil {
			return nil, err
		}
	}
}

func readZip(data []byte) (contents, error) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	out := contents{}
	for _, header := range archive.File {
		if header.FileInfo().IsDir() {
			continue
		}
		file, err := header.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(file)
		if err == nil {
			err = out.add(header.Name, header.Mode(), content)
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readDeb reads a Debian package: an ar, which has a tar of what is installed.
func readDeb(data []byte) (contents, error) {
	parts, err := readAr(data)
	if err != nil {
		return nil, err
	}
	if string(parts["debian-binary"]) != "2.0\n" || parts["control.tar.gz"] == nil || parts["data.tar.gz"] == nil {
		return nil, fmt.Errorf("it is no package of version 2.0 by gzip: %d parts", len(parts))
	}
	return readTar(parts["data.tar.gz"])
}

// readAr reads an ar: behind eight bytes each file has a header of 60, which tells its name and size, and begins at an even place.
func readAr(data []byte) (map[string][]byte, error) {
	const magic, header = "!<arch>\n", 60
	rest, is := bytes.CutPrefix(data, []byte(magic))
	if !is {
		return nil, errors.New("it is no ar")
	}
	out := map[string][]byte{}
	for len(rest) > 0 {
		if len(rest) < header {
			return nil, io.ErrUnexpectedEOF
		}
		name, size := strings.TrimSpace(string(rest[:16])), strings.TrimSpace(string(rest[48:58]))
		n, err := strconv.Atoi(size)
		if err != nil || n < 0 || n > len(rest)-header {
			return nil, fmt.Errorf("the size of %s is %q", name, size)
		}
		out[strings.TrimSuffix(name, "/")] = rest[header : header+n]
		rest = rest[min(len(rest), header+n+n%2):]
	}
	return out, nil
}

// readRPM reads an RPM: behind a lead come a header with signatures, which ends at a multiple of eight, another one that describes
// the package, and a cpio that is compressed by gzip.
func readRPM(data []byte) (contents, error) {
	const lead = 96
	if len(data) < lead || !bytes.HasPrefix(data, []byte("\xed\xab\xee\xdb")) {
		return nil, errors.New("it has no lead")
	}
	at := lead
	for range 2 {
		n, err := rpmHeader(data[at:])
		if err != nil {
			return nil, err
		}
		if at == lead {
			n = (n + 7) / 8 * 8
		}
		at = min(at+n, len(data))
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data[at:]))
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, err
	}
	return readCpio(payload)
}

// rpmHeader is how long the header is that data begins with: 16 bytes, 16 for each entry of the index, and what they point to.
func rpmHeader(data []byte) (int, error) {
	if len(data) < 16 || !bytes.HasPrefix(data, []byte("\x8e\xad\xe8\x01")) {
		return 0, errors.New("it has no header")
	}
	return 16 + 16*int(binary.BigEndian.Uint32(data[8:])) + int(binary.BigEndian.Uint32(data[12:])), nil
}

// readCpio reads a cpio of the form "newc": each file has a header of numbers of eight hexadecimal digits, and header and content
// each end at a multiple of four.
func readCpio(data []byte) (contents, error) {
	const magic, header = "070701", 110
	out := contents{}
	for {
		if len(data) < header || !bytes.HasPrefix(data, []byte(magic)) {
			return nil, errors.New("it has no header of a file")
		}
		var numbers [13]int
		for i := range numbers {
			n, err := strconv.ParseUint(string(data[len(magic)+8*i:len(magic)+8*i+8]), 16, 32)
			if err != nil {
				return nil, err
			}
			numbers[i] = int(n)
		}
		mode, size, nameSize := numbers[1], numbers[6], numbers[11]
		begin := (header + nameSize + 3) / 4 * 4
		if nameSize == 0 || begin+size > len(data) {
			return nil, io.ErrUnexpectedEOF
		}
		name := string(data[header : header+nameSize-1])
		if name == "TRAILER!!!" {
			return out, nil
		}
		const kind, directory = 0o170000, 0o040000
		if mode&kind != directory {
			if err := out.add(name, fs.FileMode(mode&0o777), data[begin:begin+size]); err != nil {
				return nil, err
			}
		}
		data = data[min(len(data), (begin+size+3)/4*4):]
	}
}

// TestPackagesAreRead has packages of a few bytes that others have written: dpkg-deb, and rpmpack, which goreleaser has.
func TestPackagesAreRead(t *testing.T) {
	for _, file := range []string{"testdata/small.deb", "testdata/small.rpm"} {
		got, err := readArchive(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 {
			t.Errorf("%s has %d files", file, len(got))
		}
		for name, want := range map[string]entry{
			"usr/bin/small":                 {0o755, []byte("#!/bin/sh\necho small\n")},
			"usr/share/doc/small/copyright": {0o644, []byte("nobody's\n")},
		} {
			if one := got[name]; one.mode != want.mode || !bytes.Equal(one.content, want.content) {
				t.Errorf("%s: %s is %v %q; want %v %q", file, name, one.mode, one.content, want.mode, want.content)
			}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		short := filepath.Join(t.TempDir(), filepath.Base(file))
		if err := os.WriteFile(short, data[:len(data)*9/10], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readArchive(short); err == nil {
			t.Errorf("%s is read without its end", file)
		}
	}
}

// TestArchivesAreRead has archives that the standard library writes. One that lacks its end is none.
func TestArchivesAreRead(t *testing.T) {
	want := contents{"small": {0o755, []byte("#!/bin/sh\necho small\n")}, "folder/LICENSE": {0o644, bytes.Repeat([]byte("nobody's\n"), 1000)}}
	for _, name := range []string{"small.tar.gz", "small.zip"} {
		archive := filepath.Join(t.TempDir(), name)
		writeArchive(t, archive, want)
		got, err := readArchive(archive)
		if err != nil || !maps.EqualFunc(got, want, entry.equal) {
			t.Errorf("%s is read as %v: %v", name, got, err)
		}
		data, err := os.ReadFile(archive)
		if err == nil {
			err = os.WriteFile(archive, data[:len(data)*9/10], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readArchive(archive); err == nil {
			t.Errorf("%s is read without its end: %v", name, got)
		}
	}
}

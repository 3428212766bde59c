package printers

import (
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"
)

// UTF8 says whether the locale of an environment is one of UTF-8: LC_ALL decides, else LC_CTYPE, else LANG, as POSIX has
// it. Where none of them is set nobody has said that the terminal is an old one.
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		locale := getenv(name)
		if locale == "" {
			continue
		}
		_, charset, _ := strings.Cut(locale, ".")
		charset, _, _ = strings.Cut(charset, "@")
		switch strings.ReplaceAll(strings.ToLower(charset), "-", "") {
		case "utf8":
			return true
		case "": // zh_CN alone is what the system makes of it
			return locale != "C" && locale != "POSIX"
		}
		return false
	}
	return true
}

// inASCII is what stands for each symbol of this program where the locale has no other characters. It is as wide as the
// symbol: tables stay aligned, and screens as they were laid out.
const inASCII = "·-" + "»>" + "×x" + "…~" + "←<" + "↑^" + "→>" + "↓v" + "≤<" + "✔+" + "✗x" +
	"─-" + "│|" + "┌+" + "┐+" + "└+" + "┘+" + "├+" +
	"▁_" + "▂." + "▃." + "▄-" + "▅=" + "▆=" + "▇#" + "█#" + "▉#" + "▊#" + "▋#" + "▌=" + "▍=" + "▎-" + "▏-" + "░."

// ascii is a writer that replaces symbols.
type ascii struct {
	w       io.Writer
	symbols *strings.Replacer
	mu      sync.Mutex
	// cut is the beginning of a character whose rest comes with the next write; guarded by mu.
	cut []byte
}

// Write writes all of p but for the beginning of a character at its end.
func (a *ascii) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := append(a.cut, p...)
	whole := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				whole = start
			}
			break
		}
	}
	a.cut = append([]byte(nil), text[whole:]...)
	if _, err := a.symbols.WriteString(a.w, string(text[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}

// asciiFile is still a file for whoever asks whether it is a terminal, and how wide. The file is not embedded: its other
// methods that write, such as WriteString, would come along, and io.WriteString prefers that one.
type asciiFile struct {
	*ascii
	file *os.File
}

// Fd, Read and Close are those of the file, which is what makes it a terminal for programs that draw.
func (f asciiFile) Fd() uintptr { return f.file.Fd() }

// Read reads from the file.
func (f asciiFile) Read(p []byte) (int, error) { return f.file.Read(p) }

// Close closes the file.
func (f asciiFile) Close() error { return f.file.Close() }

// ASCII returns a writer to w that replaces the symbols of this program, such as ✔ and →, by ASCII of the same width.
// Other characters, those of somebody's data, stay. Of a file it is one that can be asked for its descriptor.
func ASCII(w io.Writer) io.Writer {
	var pairs []string
	for _, symbol := range inASCII {
		pairs = append(pairs, string(symbol))
	}
	out := &ascii{w: w, symbols: strings.NewReplacer(pairs...)}
	if file, ok := w.(*os.File); ok {
		return asciiFile{out, file}
	}
	return out
}

// Verbatim is the writer below one of [ASCII], for data that programs read; w itself where it is none.
func Verbatim(w io.Writer) io.Writer {
	switch w := w.(type) {
	case asciiFile:
		return w.file
	case *ascii:
		return w.w
	}
	return w
}

package compare

import (
	"regexp"
	"strings"
)

const (
	// reasonLength is the number of characters of a message that a table has room for.
	reasonLength = 240
	// reasonLines is the number of lines of a message that are looked at: what a spec says stands first,
	// the objects that it dumps after that.
	reasonLines = 8
)

// short is the beginning of a spec's message on one line, without what its author's tools add for
// programmers: Go types, addresses of pointers, braces of dumped structures.
func short(message string) string {
	noise := regexp.MustCompile(`<[^<>]*\| ?(0x[0-9a-f]+|len:\d+[^>]*)>:?|^[\[\]{}]+,?$|\(0x[0-9a-f]+\)`)
	var parts []string
	for i, line := range strings.Split(message, "\n") {
		if i == reasonLines {
			break
		}
		if line = strings.TrimSpace(noise.ReplaceAllString(strings.TrimSpace(line), "")); line != "" {
			parts = append(parts, line)
		}
	}
	runes := []rune(strings.Join(parts, " "))
	if len(runes) > reasonLength {
		runes = append(runes[:reasonLength-1], '…')
	}
	return string(runes)
}

package compare

import (
	"regexp"
	"strings"
)

// reasonLength is the number of characters of a message that a table has room for.
const reasonLength = 240

// dumpIndent is how the assertion library indents the fields of the values that it dumps; the values
// themselves are indented by half of that.
const dumpIndent = "        "

// short is the beginning of a spec's message on one line, without what its author's tools add for
// programmers: fields of dumped values, Go types, addresses of pointers, braces.
func short(message string) string {
	noise := regexp.MustCompile(`<[^<>]*\| ?(0x[0-9a-f]+|len:\d+[^>]*)>:?|^[\[\]{}]+,?$|\(0x[0-9a-f]+\)`)
	var parts []string
	for line := range strings.Lines(message) {
		if strings.HasPrefix(line, dumpIndent) {
			continue
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

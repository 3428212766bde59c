package printers

// uncolored ends what is in a colour.
const uncolored = "\x1b[0m"

// Style colours words for people. The zero Style writes plain text.
type Style struct{ colored bool }

// NewStyle returns a Style that colours only where terminal says that a person's screen is at the
// other end, and neither NO_COLOR (https://no-color.org) nor TERM=dumb forbids it.
func NewStyle(terminal bool, getenv func(string) string) Style {
	return Style{colored: terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Good marks what is as it should be.
func (s Style) Good(text string) string { return s.wrap("32", text) }

// Warn marks what needs attention.
func (s Style) Warn(text string) string { return s.wrap("33", text) }

// Bad marks what is broken.
func (s Style) Bad(text string) string { return s.wrap("31", text) }

func (s Style) wrap(code, text string) string {
	if !s.colored || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + uncolored
}

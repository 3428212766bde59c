package events

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// text is the message on one line, with how often it was said.
func (e Event) text() string {
	text := strings.Join(strings.Fields(e.Message), " ")
	if e.Count > 1 {
		text += fmt.Sprintf(" (%d times)", e.Count)
	}
	return text
}

// object begins with a small letter, as people write kinds. Whoever makes an event may call the kind what they like.
func (e Event) object() string {
	first, size := utf8.DecodeRuneInString(e.Object)
	return string(unicode.ToLower(first)) + e.Object[size:]
}

func (o *options) table(found []Event, layout printers.Layout) printers.Table {
	t := layout.Table("LAST SEEN", "CELL", "TYPE", "REASON", "OBJECT", "MESSAGE")
	if o.allNamespaces {
		t.Header = append([]string{"NAMESPACE"}, t.Header...)
	}
	for _, e := range found {
		row := []string{printers.Age(o.env.Clock.Since(e.LastSeen)), e.Cell, e.Type, e.Reason, e.object(), e.text()}
		if !layout.Wide {
			row[5] = printers.ClipTo(row[5], 119) // -o wide shows all
		}
		if o.allNamespaces {
			row = append([]string{e.Namespace}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

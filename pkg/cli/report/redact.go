package report

import (
	"bytes"
	"regexp"
)

// redacted stands for what was taken out.
const redacted = "[REDACTED]"

// redactor takes secrets out of text of any kind: YAML, JSON, logs and metrics. It knows them by their shape and by
// the names that stand before them, and would rather take out too much.
type redactor struct {
	// whole are replaced as a whole.
	whole []*regexp.Regexp
	// named keep their first group, the name, and lose what follows.
	named []*regexp.Regexp
	// block is a line that begins a block of YAML which is secret. The first group is what it is indented by.
	block *regexp.Regexp
}

const (
	// quoted is a list, or text in quotes, in those of JSON that is quoted itself, too.
	quoted = `\[[^\]]*\]|\\"(?:[^"\\]|\\\\\\"|\\\\[^"\\])*\\"|"(?:[^"\\]|\\.)*"|'[^']*'`
	// word is what stands behind a flag: one of these, or a word.
	word = `(?:` + quoted + `|[^\s"',}{\\\[]+)`
	// assigned is what stands behind an equals sign: all up to a space.
	assigned = `(?:` + quoted + `|(?:[^\s"'\\]|\\[^"'])+)`
	// value is what stands behind a colon: words as well, up to what ends them in YAML between braces.
	value = `(?:` + quoted + `|[^\s"',}{\\\[][^"',}{\\\n]*)`
	// secretName ends a name that says what it holds.
	secretName = `(?:password|passwd|passphrase|secret[-_]?key|access[-_]?key|client[-_]?secret|api[-_]?key|private[-_]?key|` +
		`client-key-data|client-certificate-data|certificate-authority-data|token)`
)

func newRedactor() *redactor {
	return &redactor{
		whole: compile(
			// PEM of any kind, with line breaks that may be escaped, cut off at the end of the file or not.
			`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|\z)`,
			// The same in base64, as in kubeconfigs and Secrets.
			`LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*`,
			// JWTs, and the first part of ones that were cut off; JSON in base64.
			`eyJ[A-Za-z0-9_+/=-]{8,}(\.[A-Za-z0-9_-]*){0,2}`,
			// A kubeconfig in base64.
			`YXBpVmVyc2lvb[A-Za-z0-9+/=_-]*`,
			// Bootstrap tokens of Kubernetes, keys of clouds and of forges.
			`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`,
			`\b(AKIA|ASIA)[A-Z0-9]{16}\b`,
			`\bgh[pousr]_[A-Za-z0-9]{20,}`,
		),
		named: compile(
			// Headers.
			`(?i)((?:proxy-)?authorization["']?\s*[:=]\s*\[?["']?)[^\s"',\]}][^"',\]}\n]*`,
			`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}`,
			`(?i)((?:set-)?cookie["']?\s*[:=]\s*\[?["']?)[^"'\]}\n]+`,
			// Fields, flags and variables whose name says what they hold; all of a line of YAML that is not in quotes.
			`(?im)^([ \t-]*[\w.-]*`+secretName+`[ \t]*:[ \t]+)[^\s"'\[{|>].*$`,
			`(?i)([\w.-]*`+secretName+`\\?["']?\s*:\s*)`+value,
			`(?i)([\w.-]*`+secretName+`\\?["']?[ \t]*=[ \t]*)`+assigned,
			// The same as the name and the value of a variable, in JSON and in YAML.
			`(?i)(\bname\\?["']?\s*:\s*\\?["']?[\w.-]*`+secretName+`\\?["']?\s*[,\n]\s*\\?["']?value\\?["']?\s*:\s*)`+value,
			// What a Secret or a ConfigMap holds, in JSON.
			`(\\?"(?:data|stringData)\\?"\s*:\s*\{)[^{}]+`,
			// Flags whose value is the next word: of a command line, of a list in JSON, of one in YAML.
			`(?i)(--[\w-]*(?:password|passwd|passphrase|token|secret|api-?key|private-?key)\\?["']?(?:\s*,\s*|\s+(?:-\s+)?))`+word,
			// A field that is called so and nothing else. One whose value begins on another line has fields of its own.
			`(?i)(\b(?:secret|credentials?)\\?["']?[ \t]*:[ \t]*)`+value,
			`(?i)(\b(?:secret|credentials?)\\?["']?[ \t]*=[ \t]*)`+assigned,
			// Credentials in URLs.
			`([a-z][a-z0-9+.-]*://[^/\s:@"']*:)[^@\s/"']+@`,
		),
		block: regexp.MustCompile(`(?i)^([ \t-]*)[\w.-]*` + secretName + `["']?\s*:\s*[|>][-+0-9]*\s*$`),
	}
}

func compile(patterns ...string) []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(patterns))
	for i, pattern := range patterns {
		out[i] = regexp.MustCompile(pattern)
	}
	return out
}

// clean returns data without its secrets.
func (r *redactor) clean(data []byte) []byte {
	data = r.withoutBlocks(data)
	for _, pattern := range r.whole {
		data = pattern.ReplaceAllLiteral(data, []byte(redacted))
	}
	for _, pattern := range r.named {
		data = pattern.ReplaceAll(data, []byte("${1}"+redacted))
	}
	return data
}

// withoutBlocks empties the blocks of YAML that are secret: all lines which are indented further than their name.
func (r *redactor) withoutBlocks(data []byte) []byte {
	var out [][]byte
	inside := -1 // what the name of the block is indented by
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		text := bytes.TrimLeft(line, " \t")
		if inside >= 0 && (len(text) == 0 || len(line)-len(text) > inside) {
			continue
		}
		inside = -1
		if match := r.block.FindSubmatch(line); match != nil {
			inside = len(match[1])
			line = append(bytes.TrimRight(bytes.Clone(line), "|>-+0123456789 \t\r"), " "+redacted...)
		}
		out = append(out, line)
	}
	return bytes.Join(out, []byte("\n"))
}

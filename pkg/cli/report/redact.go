package report

import "regexp"

// redacted stands for what was taken out.
const redacted = "[REDACTED]"

// redactor takes secrets out of text of any kind: YAML, JSON, logs and metrics. It knows them by their shape and by
// the names that stand before them, and would rather take out too much.
type redactor struct {
	// whole are replaced as a whole.
	whole []*regexp.Regexp
	// named keep their first group, the name, and lose what follows.
	named []*regexp.Regexp
}

// value is what stands behind a name: a word, or text in quotes, in those of JSON that is quoted itself, too.
const value = `(?:\\"[^"\\]*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',}{\\]+)`

func newRedactor() *redactor {
	return &redactor{
		whole: compile(
			// PEM of any kind, with line breaks that may be escaped, cut off at the end of the file or not.
			`(?s)-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|\z)`,
			// The same in base64, as in kubeconfigs and Secrets.
			`LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*`,
			// JWTs, and the first part of ones that were cut off.
			`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,2}`,
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
			// Fields, flags and variables whose name says what they hold.
			`(?i)([\w.-]*(?:password|passwd|passphrase|secret[-_]?access[-_]?key|client[-_]?secret|api[-_]?key|private[-_]?key|access-?token|refresh-?token|id-?token|`+
				`bearer-?token|client-key-data|client-certificate-data|certificate-authority-data|-token|_token|\btoken)\\?["']?\s*[:=]\s*)`+value,
			// Flags whose value is the next word: of a command line, of a list in JSON, of one in YAML.
			`(?i)(--[\w-]*(?:password|passwd|passphrase|token|secret|api-?key|private-?key)\\?["']?(?:\s*,\s*|\s+(?:-\s+)?))`+value,
			// A field that is called secret and nothing else. One whose value begins on another line has fields of its own.
			`(?i)(\bsecret\\?["']?[ \t]*[:=][ \t]*)`+value,
			// Credentials in URLs.
			`([a-z][a-z0-9+.-]*://[^/\s:@"']*:)[^@\s/"']+@`,
		),
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
	for _, pattern := range r.whole {
		data = pattern.ReplaceAllLiteral(data, []byte(redacted))
	}
	for _, pattern := range r.named {
		data = pattern.ReplaceAll(data, []byte("${1}"+redacted))
	}
	return data
}

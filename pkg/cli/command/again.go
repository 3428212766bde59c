package command

import (
	"regexp"
	"slices"
	"strings"
)

// answered is the command as it was typed and with --yes, for a shell. One with a secret in it is not repeated.
func (e *Env) answered() string {
	const yes = "--yes"
	secret := regexp.MustCompile(`^--(token|password)(=|$)`)
	if len(e.Args) == 0 || slices.ContainsFunc(e.Args, secret.MatchString) {
		return "the same command with " + yes
	}
	at := len(e.Args)
	if end := slices.Index(e.Args, "--"); end >= 0 {
		at = end
	}
	words := []string{e.Program}
	for _, word := range slices.Insert(slices.Clone(e.Args), at, yes) {
		words = append(words, quoted(word))
	}
	return strings.Join(words, " ")
}

// quoted is a word that a POSIX shell reads as it is.
func quoted(word string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`).MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

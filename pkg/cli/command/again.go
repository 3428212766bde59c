package command

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Aim has each line that is printed to be typed next act where this command acts: Program gets those of the connection
// flags that were given. It is called once the command line is parsed; examples, which are made before, are without them.
// -n is not among them, since few commands mean by it what others do: those lines say [Env.Within].
func (e *Env) Aim(flags *pflag.FlagSet) {
	words := []string{e.name()}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "namespace" && f.Name != "v" {
			words = append(words, asGiven(f)...)
		}
	})
	e.bare, e.Program = e.name(), strings.Join(words, " ")
}

// asGiven is a flag as it was given, for a shell. A secret has to be typed again.
func asGiven(f *pflag.Flag) []string {
	name := "--" + f.Name
	values := []string{f.Value.String()}
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values = list.GetSlice()
	}
	var words []string
	for _, value := range values {
		switch {
		case secret().MatchString(name):
			words = append(words, name, strings.ToUpper(f.Name))
		case f.NoOptDefVal == "":
			words = append(words, name, Quoted(value))
		case f.NoOptDefVal == value:
			words = append(words, name)
		default:
			words = append(words, name+"="+Quoted(value))
		}
	}
	return words
}

// Within is -n as it was given, with a space before it: the end of a line that is printed to be typed next. It is empty
// where it was not.
func (e *Env) Within() string {
	if namespace := e.ChosenNamespace(); namespace != "" {
		return " -n " + Quoted(namespace)
	}
	return ""
}

// name is Program without flags.
func (e *Env) name() string { return cmp.Or(e.bare, e.Program) }

// secret finds flags that are not to be repeated.
func secret() *regexp.Regexp { return regexp.MustCompile(`^--(token|password)(=|$)`) }

// answered is the command as it was typed and with --yes, for a shell. One with a secret in it is not repeated.
func (e *Env) answered() string {
	const yes = "--yes"
	if len(e.Args) == 0 || slices.ContainsFunc(e.Args, secret().MatchString) {
		return "the same command with " + yes
	}
	at := len(e.Args)
	if end := slices.Index(e.Args, "--"); end >= 0 {
		at = end
	}
	words := []string{e.name()}
	for _, word := range slices.Insert(slices.Clone(e.Args), at, yes) {
		words = append(words, Quoted(word))
	}
	return strings.Join(words, " ")
}

// Quoted is a word that a POSIX shell reads as it is.
func Quoted(word string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`).MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

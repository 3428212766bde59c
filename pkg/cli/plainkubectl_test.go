package cli_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// plainKubectl are the words after each `kubectl` of a script that calls kubectl itself, and says what for. What is no
// script calls nothing.
func plainKubectl(script string) [][]string {
	if !regexp.MustCompile(`\bkubectl `).MatchString(script) {
		return nil
	}
	all, err := calls(script)
	if err != nil {
		return nil
	}
	var out [][]string
	for _, words := range all {
		at := slices.Index(words, "kubectl")
		itself := at == 0 || at == 1 && words[0] == "sudo"
		if words = said(words[at+1:]); itself && len(words) > 0 && !slices.Contains([]string{"cell", "kubecell"}, words[0]) {
			out = append(out, words)
		}
	}
	return out
}

// kubectlTakes has kubectl read a command line that ends in --help: it knows the command, each flag and its value.
func kubectlTakes(words []string) error {
	end := slices.Index(words, "--")
	if end < 0 {
		end = len(words)
	}
	words = slices.Insert(slices.Clone(words), end, "--help")
	out, err := exec.Command("kubectl", words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	usage := regexp.MustCompile(`(?m)^Usage:\n +(kubectl .*)`).FindSubmatch(out)
	if usage == nil || strings.Contains(string(usage[1]), "SUBCOMMAND") || strings.Contains(string(usage[1]), "[command]") {
		return fmt.Errorf("there is no such command: %s", out)
	}
	return nil
}

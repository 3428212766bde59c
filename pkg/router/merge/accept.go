package merge

import (
	"errors"
	"strings"

	"github.com/munnerz/goautoneg"
)

// ErrNotAcceptable is returned where the client accepts no encoding that a merged answer can have;
// the answer is 406.
var ErrNotAcceptable = errors.New("a list over several cells is served as application/json or application/yaml")

// Encoding is how the client wants a merged answer, and how the cells are asked for theirs.
type Encoding struct {
	// Upstream is the Accept header for the cells: the JSON forms that the client accepts, in its
	// order, so that tables and partial objects are made where the objects are.
	Upstream string
	// YAML is true where the client wants the merged answer as YAML.
	YAML bool
}

// Negotiate reads a client's Accept header.
func Negotiate(accept string) (Encoding, error) {
	if accept == "" {
		return Encoding{Upstream: "application/json"}, nil
	}
	var forms []string
	yaml, decided := false, false
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Type != "application" && clause.Type != "*" {
			continue
		}
		switch clause.SubType {
		case "json", "*":
			forms = append(forms, jsonForm(clause.Params))
		case "yaml":
			yaml = yaml || !decided
			forms = append(forms, jsonForm(clause.Params))
		default:
			continue
		}
		decided = true
	}
	if len(forms) == 0 {
		return Encoding{}, ErrNotAcceptable
	}
	return Encoding{Upstream: strings.Join(forms, ","), YAML: yaml}, nil
}

// jsonForm keeps the parameters that say which kind the list shall be converted to.
func jsonForm(params map[string]string) string {
	form := "application/json"
	for _, key := range []string{"as", "v", "g"} {
		if value := params[key]; value != "" {
			form += ";" + key + "=" + value
		}
	}
	return form
}

// Package result is the file in which a run of specs leaves its outcomes: one JSON object a line, appended
// as soon as a spec has ended, so that what a crash leaves behind is readable up to there.
package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Passed is the state of a spec that passed; each other state is the test runner's word for why it did not.
const Passed = "passed"

// Result is how one spec ended.
type Result struct {
	Spec string `json:"spec"`
	// State is Passed, "skipped", "failed", "timedout" or another word of the test runner.
	State   string  `json:"state"`
	Seconds float64 `json:"seconds"`
	// Message is what the spec said when it did not pass, in full.
	Message string `json:"message,omitempty"`
}

// Append adds a result to the file at path, and makes the file if it is not there.
func Append(path string, r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode result of %q: %w", r.Spec, err)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("append result: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// Read returns the results in the file at path by the names of specs; of several for one spec the last
// one counts. A file that is not there holds none.
func Read(path string) (map[string]Result, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read results: %w", err)
	}
	results := map[string]Result{}
	decoder := json.NewDecoder(bytes.NewReader(content))
	for {
		var r Result
		switch err := decoder.Decode(&r); {
		case errors.Is(err, io.EOF):
			return results, nil
		case err != nil:
			return nil, fmt.Errorf("read results in %s: %w", path, err)
		}
		results[r.Spec] = r
	}
}

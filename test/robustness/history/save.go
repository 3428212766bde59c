package history

import (
	"encoding/json"
	"fmt"
	"os"
)

// Save writes everything to a file, for whoever looks for the cause of a failure.
func (r *Recorder) Save(path string) error {
	data, err := json.MarshalIndent(r.Record(), "", " ")
	if err != nil {
		return fmt.Errorf("encode the history: %w", err)
	}
	return os.WriteFile(path, data, 0o600)
}

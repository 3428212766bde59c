package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// Whoever reads a lock between the writing of a record and the cutting off of a longer one before sees the new one.
func TestARecordIsReadBeforeTheRestIsCutOff(t *testing.T) {
	const record = `{"pid":7}` + "\n"
	for name, before := range map[string]string{
		"nothing":   "",
		"shorter":   "{}",
		"as long":   `{"pid":9}` + "\n",
		"longer":    `{"pid":9,"address":"https://a-very-long-address.example"}` + "\n",
		"no record": "left by somebody else, who wrote no JSON",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			written := padded([]byte(record), int64(len(before)))
			if err := os.WriteFile(path, append(written, before[min(len(before), len(written)):]...), 0o600); err != nil {
				t.Fatal(err)
			}
			if holder, err := readHolder(path); err != nil || holder != (Holder{PID: 7}) {
				t.Errorf("the holder is %+v, %v", holder, err)
			}
		})
	}
}

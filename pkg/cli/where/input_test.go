package where

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReadNames(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	input := "\ufeffa\r\n\r\n  # comment\r\n\tb # trailing\n" + long + "\n" + "# " + long + "\nBAD\n\nlast without line end"
	for name, reader := range map[string]*strings.Reader{"at once": strings.NewReader(input), "byte by byte": strings.NewReader(input)} {
		t.Run(name, func(t *testing.T) {
			var got []string
			use := func(line string) error {
				if line == "BAD" {
					return errors.New("bad")
				}
				got = append(got, line)
				return nil
			}
			var in interface{ Read([]byte) (int, error) } = reader
			if name == "byte by byte" {
				in = iotest.OneByteReader(reader)
			}
			bad, err := readNames(in, use)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"a", "b", "last without line end"}, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			var lines []string
			for _, line := range bad {
				lines = append(lines, fmt.Sprintf("%d: %v", line.number, line.err))
			}
			want := []string{"5: too long for a name (1048577 bytes)", "7: bad"}
			if diff := cmp.Diff(want, lines); diff != "" {
				t.Errorf("bad lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadNamesReportsAReadError(t *testing.T) {
	in := iotest.TimeoutReader(strings.NewReader(strings.Repeat("a\n", 10_000)))
	if _, err := readNames(in, func(string) error { return nil }); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("error = %v; want the reader's", err)
	}
}

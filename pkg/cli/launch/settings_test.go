package launch

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// fakeRun are the flags of a `run` of every kind.
type fakeRun struct {
	dir, file string
	list      []string
	number    int
}

func (*fakeRun) Complete([]string) error { return nil }
func (r *fakeRun) Directory() string     { return r.dir }

func fakeProgram() Program {
	return Program{Name: "fake", Paths: []string{"tls-cert-file"}, Flags: func(flags *pflag.FlagSet) Runner {
		r := &fakeRun{}
		flags.StringVar(&r.dir, "state-dir", "", "")
		flags.StringVar(&r.file, "tls-cert-file", "", "")
		flags.StringSliceVar(&r.list, "suites", nil, "")
		flags.IntVar(&r.number, "number", 1, "")
		return r
	}}
}

// parse are the flags of a `start` that was given these arguments.
func parse(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("start", pflag.ContinueOnError)
	fakeProgram().Flags(flags)
	flags.Duration("timeout", 0, "") // of start itself
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// What was given comes back as it was, whatever kind of flag it is, with the paths of where it was given, and without
// the flags that are none of run's.
func TestFlagsSurviveARestart(t *testing.T) {
	p := fakeProgram()
	given, err := p.given(parse(t, "--suites", "A,B", "--number", "7", "--tls-cert-file", "here.crt", "--timeout", "3s"))
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("here.crt")
	if err != nil {
		t.Fatal(err)
	}
	want := settings{"suites": "A,B", "number": "7", "tls-cert-file": here}
	if diff := cmp.Diff(want, given); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
	dir := t.TempDir()
	if err := given.write(dir); err != nil {
		t.Fatal(err)
	}
	read, err := readSettings(dir)
	if err != nil {
		t.Fatal(err)
	}
	again := parse(t, "--number", "8")
	if err := read.apply(again); err != nil {
		t.Fatal(err)
	}
	got, err := p.given(again)
	if err != nil {
		t.Fatal(err)
	}
	want["number"] = "8"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"--number=8", "--suites=A,B", "--tls-cert-file=" + here}, got.arguments()); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestFlagsOfAnotherVersion(t *testing.T) {
	if err := (settings{"gone": "1"}).apply(parse(t)); err == nil {
		t.Error("a flag that there is no more was taken")
	}
	if read, err := readSettings(t.TempDir()); read != nil || err != nil {
		t.Errorf("flags of nothing: %v, %v", read, err)
	}
}

// systemd reads a command line by rules of its own.
func TestWordsOfAUnit(t *testing.T) {
	for text, want := range map[string]string{
		"--plain=/a/b":   "--plain=/a/b",
		"--a=two words":  `"--a=two words"`,
		"--a=100%":       "--a=100%%",
		"--a=$HOME":      "--a=$$HOME",
		`--a=back\slash`: `--a=back\\slash`,
		`--a=quo"te`:     `"--a=quo\"te"`,
		"--a=x;y":        `"--a=x;y"`,
	} {
		if got := word(text); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

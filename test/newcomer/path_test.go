//go:build linux

package newcomer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wantedByREADME are the programs that README asks for; kubectl is built where there is none.
const wantedByREADME = "bash go git make kubectl"

// everywhere are the programs that any system has: the mandatory utilities of POSIX that are programs of their own, and a few
// that no system is without. A C compiler is none of them, nor is a program that fetches what is on the net.
const everywhere = `
	at awk basename batch bc cal cat chgrp chmod chown cksum cmp comm cp csplit cut date dd df diff dirname du echo ed env ex
	expand expr false file find fold gencat getconf grep head iconv id join kill link ln locale localedef logger logname lp ls m4
	mailx man mesg mkdir mkfifo more mv newgrp nice nl nohup od paste patch pathchk pax pr printf ps pwd renice rm rmdir sed sh
	sleep sort split stty tabs tail talk tee test time touch tput tr true tsort tty uname unexpand uniq unlink uudecode uuencode
	vi wc who write xargs
	gzip mktemp readlink seq sha256sum tar timeout
`

// programs makes a folder of links to those programs, as far as this machine has them, which is all of a newcomer's PATH.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range strings.Fields(wantedByREADME + everywhere) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bash", "go", "git", "make", "awk", "grep", "sed", "sh"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the test itself needs %s: %v", name, err)
		}
	}
	return dir
}

// TestANewcomerHasLittle: a command of README that needs anything else is not found by the shell that plays it.
func TestANewcomerHasLittle(t *testing.T) {
	home := t.TempDir()
	// With telemetry go would start a process that writes into the folder while it is deleted.
	telemetry := filepath.Join(home, ".config", "go", "telemetry")
	if err := os.MkdirAll(telemetry, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, t.TempDir(), screenWidth, 28, environment(t, home))
	const notFound = 127
	for _, name := range []string{"curl", "wget", "jq", "tmux", "python3", "perl", "gcc", "cc", "unzip", "openssl", "docker", "systemctl", "kubectl-cell"} {
		if screen, code := s.run(name + " --version"); code != notFound {
			t.Errorf("%s is found:\n%s", name, screen)
		}
	}
	if screen, code := s.run("make --version && go version && git --version"); code != 0 {
		t.Errorf("what README asks for is not found:\n%s", screen)
	}
	s.terminal.Press("exit\r")
	s.terminal.Ended()
}

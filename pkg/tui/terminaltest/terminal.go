//go:build linux

// Package terminaltest runs a program on a real terminal, presses keys, and looks at the screen: for tests of
// commands that draw one. The terminal is one of the kernel's; what shows its screen understands no more than
// a VT100, which is what the program is told.
//
// Not promised: colours, and other systems than Linux.
package terminaltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something on the screen, unless it says otherwise.
const patience = time.Minute

// Terminal is one with a program at work.
type Terminal struct {
	// Patience is how long Await and Ended wait; a minute unless it is changed.
	Patience time.Duration

	t       testing.TB
	master  *os.File
	display *display
	command *exec.Cmd
	ended   chan error
}

// Start runs a program. It ends with the test.
func Start(t testing.TB, width, height int, environ []string, name string, args ...string) *Terminal {
	t.Helper()
	master, slave, err := open()
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	defer slave.Close()
	term := &Terminal{Patience: patience, t: t, master: master, display: newDisplay(width, height), ended: make(chan error, 1)}
	term.size(width, height)
	term.command = exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	term.command.Env = append(append(os.Environ(), "TERM=vt100"), environ...)
	term.command.Stdin, term.command.Stdout, term.command.Stderr = slave, slave, slave
	term.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := term.command.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // ends when the program has closed its end, or the terminal is hung up
		defer close(read)
		_, _ = io.Copy(term.display, master)
		term.display.close()
	}()
	go func() { term.ended <- term.command.Wait() }() // ends with the program
	t.Cleanup(func() {
		_ = term.command.Process.Kill()
		_ = master.Close()
		<-read
	})
	return term
}

// open makes a pair of the kernel's terminals.
func open() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.SetNonblock(int(master.Fd()), true)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	// Fd has made it blocking; a new one can be closed while it is read. The program must not inherit it: it would
	// hold its own terminal.
	duplicate, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close(), slave.Close())
	}
	if err := errors.Join(unix.SetNonblock(duplicate, true), master.Close()); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(duplicate), "ptmx"), slave, nil
}

func (t *Terminal) size(width, height int) {
	t.t.Helper()
	raw, err := t.master.SyscallConn()
	if err != nil {
		t.t.Fatal(err)
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	})
	if err := errors.Join(err, failure); err != nil {
		t.t.Fatalf("set the size of the terminal: %v", err)
	}
}

// Resize changes the size, as a person does with a window.
func (t *Terminal) Resize(width, height int) {
	t.t.Helper()
	t.display.resize(width, height)
	t.size(width, height)
}

// Watch has every change of the screen told from now on, until the test ends. The function must not wait.
func (t *Terminal) Watch(watch func(screen string)) {
	t.display.mu.Lock()
	defer t.display.mu.Unlock()
	t.display.watch = watch
}

// Press types keys.
func (t *Terminal) Press(keys string) {
	t.t.Helper()
	if _, err := io.WriteString(t.master, keys); err != nil {
		t.t.Fatalf("press %q: %v", keys, err)
	}
}

// HangUp takes the terminal away, as a lost connection does.
func (t *Terminal) HangUp() {
	t.t.Helper()
	if err := t.master.Close(); err != nil {
		t.t.Fatal(err)
	}
}

// Await waits until the screen is as the condition wants it, and returns it.
func (t *Terminal) Await(what string, condition func(screen string) bool) string {
	t.t.Helper()
	d := t.display
	timer := time.AfterFunc(t.Patience, d.close)
	defer timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		text := d.text()
		if condition(text) {
			return text
		}
		if d.closed {
			t.t.Fatalf("never on the screen: %s; the last one was\n%s", what, text)
		}
		d.cond.Wait()
	}
}

// AwaitText waits until all words are on the screen.
func (t *Terminal) AwaitText(words ...string) string {
	t.t.Helper()
	return t.Await(strings.Join(words, ", "), func(screen string) bool {
		for _, word := range words {
			if !strings.Contains(screen, word) {
				return false
			}
		}
		return true
	})
}

// Ended waits for the end of the program and returns its exit code.
func (t *Terminal) Ended() int {
	t.t.Helper()
	select {
	case err := <-t.ended:
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			t.t.Fatal(err)
		}
		return t.command.ProcessState.ExitCode()
	case <-time.After(t.Patience):
		t.t.Fatal("the program did not end")
		return 0
	}
}

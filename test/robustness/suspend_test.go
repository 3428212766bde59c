package robustness

import (
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

const (
	termSignal = syscall.SIGTERM
	// wroteWord begins a line of a driver that tells of a write that succeeded: when it was sent, and what it was.
	wroteWord = "wrote "
	// sleepsFor is how long a driver stays suspended once another one drives, and watchedFor how long it is watched after
	// it goes on.
	sleepsFor  = 500 * time.Millisecond
	watchedFor = 2 * time.Second
)

// telling is a way to a server that tells of each write that succeeded, but for what is nobody's state: Leases, events, and
// questions what somebody may do.
type telling struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t telling) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	answer, err := t.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode < http.StatusMultipleChoices && r.Method != http.MethodGet && !isNobodys(r) {
		fmt.Printf("%s%d %s %s\n", wroteWord, sent.UnixNano(), r.Method, r.URL.Path)
	}
	return answer, err
}

func isNobodys(r *http.Request) bool {
	for _, part := range []string{"/leases", "/events", "accessreviews", "subjectreviews"} {
		if strings.Contains(r.URL.Path, part) {
			return true
		}
	}
	return r.URL.Query().Get("dryRun") != ""
}

func tellWrites(next http.RoundTripper) http.RoundTripper { return telling{next} }

// wroteIn reads such a line.
func wroteIn(line string) (history.DriverWrite, bool) {
	rest, ok := strings.CutPrefix(line, wroteWord)
	at, what, _ := strings.Cut(rest, " ")
	sent, err := strconv.ParseInt(at, 10, 64)
	return history.DriverWrite{Sent: sent, What: what}, ok && err == nil
}

// suspend stops a driver for longer than its Lease lasts, and has another one take over, which it returns. The first goes
// on while that one drives, and is watched beside.
func (p *proof) suspend(run string, first *child) (next *child, suspended bool) {
	p.t.Helper()
	if !p.stopped(first) {
		return first, false // it has ended
	}
	p.handOver(run)
	next = p.drive(run)
	p.beside.Go(func() { p.wake(run, first) })
	return next, true
}

// stopped suspends a driver, and waits until it stands still. One that is ending takes the signal as well.
func (p *proof) stopped(driver *child) (still bool) {
	p.t.Helper()
	driver.asleep.Store(true)
	if err := driver.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return false
	}
	p.await("the driver to stand still, or to end", func() bool {
		state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(driver.cmd.Process.Pid)).Output()
		still = strings.HasPrefix(strings.TrimSpace(string(state)), "T")
		return still || err != nil || strings.HasPrefix(strings.TrimSpace(string(state)), "Z")
	})
	return still
}

// wake lets a driver go on once another one drives, or has ended the run, and notes what it writes then.
func (p *proof) wake(run string, first *child) {
	s := history.Suspension{Driver: first.identity()}
	err := p.poll(func() bool {
		holder, err := rebalance.Holder(p.ctx, p.kube, (&lease.Clock{}).Now)
		if err == nil && holder != "" && holder != s.Driver {
			return true
		}
		record, err := p.client.Rebalances().Get(p.ctx, run, metav1.GetOptions{})
		return err == nil && record.Status.Phase.Final()
	})
	if err != nil {
		p.t.Errorf("wait for another driver than %s: %v", s.Driver, err)
	}
	sleep(p.ctx, sleepsFor)
	s.Resumed = time.Now().UnixNano()
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil && p.ctx.Err() == nil {
		p.t.Errorf("let %s go on: %v", s.Driver, err) // it would have slept until nobody looks
	}
	first.goOn(false)
	watched := time.After(watchedFor)
	for s.Held == 0 {
		select {
		case <-watched:
			first.kill()
			watched = nil
			continue
		case line, running := <-first.lines:
			if !running {
				p.record.AddSuspension(s)
				return
			}
			if w, ok := wroteIn(line); ok {
				s.Writes = append(s.Writes, w)
			} else if step, ok := stepIn(line); ok && step == string(rebalance.LeaseHeld) && watched != nil {
				s.Held = time.Now().UnixNano() // the other one is gone, and it may
			} else if ok {
				first.goOn(false)
			}
		}
	}
	first.kill()
	for range first.lines {
	}
	p.record.AddSuspension(s)
}

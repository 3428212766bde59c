package daemon

import (
	"os/exec"
	"runtime"
)

// launch starts cmd and returns a channel that yields its end, once, and is then closed.
func launch(cmd *exec.Cmd, dieWithParent bool) (<-chan error, error) {
	started := make(chan error)
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		if dieWithParent {
			// The kernel takes the thread that made the child for its parent, and Go may
			// end a thread that no goroutine is bound to.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return ended, nil
}

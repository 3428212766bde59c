package command

import (
	"os"
	"runtime/debug"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// crashInto has the Go runtime write to file what it says when the process panics, beside standard error: after a
// rotation that is another file, or nobody's. Where both are one file, once is enough.
func (d *Daemon) crashInto(file *os.File) {
	own, isFile := printers.Verbatim(d.Env.ErrOut).(*os.File)
	if !isFile {
		return // a test, whose process is not the daemon's
	}
	into := file
	if mine, err := own.Stat(); err == nil {
		if there, err := file.Stat(); err == nil && os.SameFile(mine, there) {
			into = nil
		}
	}
	// Without it a panic is on standard error alone, as ever.
	_ = debug.SetCrashOutput(into, debug.CrashOptions{})
}

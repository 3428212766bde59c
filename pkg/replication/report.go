package replication

import (
	"context"
	"time"
)

const (
	// reportEvery is how often it is looked whether there is something new to tell of a cell.
	reportEvery = time.Second
	// reportTimeout bounds telling it.
	reportTimeout = 5 * time.Second
)

// report is what is told of a cell, with the access of which it is true: a Cell that was made again has
// not been told of.
type report struct {
	Verdict
	access string
}

// reportLoop tells how the copies of each cell stand whenever that changes, until ctx ends. While it is not
// known, what was told last stands.
func (c *Controller) reportLoop(ctx context.Context) {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	told := map[string]report{}
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		failed := false
		for name, r := range c.reports() {
			if told[name] == r {
				continue
			}
			attempt, cancel := context.WithTimeout(ctx, reportTimeout)
			err := c.config.Report(attempt, name, r.Verdict)
			cancel()
			if err == nil {
				told[name] = r
				continue
			}
			if failed = true; !failing && ctx.Err() == nil {
				c.config.Logger.Warn("cannot say how the copies of a cell stand, trying on", "cell", name, "err", err)
			}
		}
		failing = failed
	}
}

// reports are those of the cells of which something is known.
func (c *Controller) reports() map[string]report {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]report{}
	if c.state == nil {
		return out
	}
	for name, access := range c.state.Cells {
		if access.Err != nil {
			out[name] = report{Verdict{Reason: reasonNoAccess, Message: access.Err.Error()}, access.Version}
			continue
		}
		if cell := c.cells[name]; cell != nil {
			if v, known := cell.standing.verdict(); known {
				out[name] = report{v, access.Version}
			}
		}
	}
	return out
}

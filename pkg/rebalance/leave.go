package rebalance

import "errors"

// ErrLeft is how [Driver.Run] ends when [Driver.Leaving] was closed: no unit that this driver has begun is in flight, it
// does not hold the Lease, and the run goes on as soon as somebody drives it.
var ErrLeft = errors.New("the driver has left the run to others")

// left says whether this driver is to give the run up in good order.
func (d *Driver) left() bool {
	select {
	case <-d.Leaving:
		return true
	default:
		return false
	}
}

package history

import "time"

// Beside is how long requests took, in one drill, for objects that the deaths in it have nothing to do with: Calm while
// nothing was broken, Trouble from the death of the first cell to the end of its failover. One that was refused or never
// answered took as long as a client waits.
type Beside struct{ Calm, Trouble []time.Duration }

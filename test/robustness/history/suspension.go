package history

// DriverWrite is a write of a driver that succeeded.
type DriverWrite struct {
	// Sent is when it was sent, in nanoseconds of the wall clock.
	Sent int64
	// What is the method and the path.
	What string
}

// Suspension is what a driver did that was stopped until another one had taken over. Times are nanoseconds of the wall
// clock.
type Suspension struct {
	Driver string
	// Resumed is when it went on.
	Resumed int64
	// Held is when it held the Lease anew, and could write again; 0 where it did not.
	Held   int64
	Writes []DriverWrite
}

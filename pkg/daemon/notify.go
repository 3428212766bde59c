package daemon

import (
	"context"
	"fmt"
	"net"
)

// What a service manager is told by [Notify].
const (
	// NotifyReady says that the daemon can be used.
	NotifyReady = "READY=1"
	// NotifyStopping says that the daemon has begun to end.
	NotifyStopping = "STOPPING=1"
)

// NotifySocketEnv names the variable in which a service manager says where it wants to be told.
const NotifySocketEnv = "NOTIFY_SOCKET"

// Notify tells the service manager that listens at socket, by the protocol of sd_notify(3). It does
// nothing where socket is empty: nobody wants to know. The library for it would read the environment of
// the process, which nothing but main does here.
func Notify(ctx context.Context, socket, state string) error {
	if socket == "" {
		return nil
	}
	// A leading @ stands for the zero byte of an abstract address, here as there.
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = conn.Close() }() // the word has left by then
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

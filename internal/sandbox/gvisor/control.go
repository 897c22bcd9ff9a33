package gvisor

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/urpc"
)

// control is a kept connection to a Sentry's control server. gVisor's own
// client connects anew for each call, which costs more than the calls.
type control struct {
	path string

	mu     sync.Mutex // one call at a time; also guards client
	client *urpc.Client
}

// call calls a method of the control server. When ctx ends first, the call goes
// on in the background until the Sentry answers or dies, and the connection is
// of no more use: close the sandbox.
func (c *control) call(ctx context.Context, method string, arg, result any) error {
	done := make(chan error, 1)
	go func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.client == nil {
			cl, err := connect(c.path)
			if err != nil {
				done <- err
				return
			}
			c.client = cl
		}
		done <- c.client.Call(method, arg, result)
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

// connect connects to the socket at path, which may be longer than the 108
// bytes that an address has room for.
func connect(path string) (*urpc.Client, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	return client.ConnectTo("/proc/self/fd/" + strconv.Itoa(fd))
}

// close ends the connection. The Sentry must be dead, so that no call is stuck.
func (c *control) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

package gvisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/unet"
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
	err := c.do(ctx, func(cl *urpc.Client) error { return cl.Call(method, arg, result) })
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// do is call for f, which makes the calls on its own.
func (c *control) do(ctx context.Context, f func(*urpc.Client) error) error {
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
		done <- f(c.client)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gVisor's own functions for these sockets leave them open across exec, for
// other sandboxes to inherit.

// connect connects to the socket at path.
func connect(path string) (*urpc.Client, error) {
	var conn *unet.Socket
	err := unixSocket(path, func(fd int, addr unix.Sockaddr) error {
		if err := unix.Connect(fd, addr); err != nil {
			return err
		}
		var err error
		conn, err = unet.NewSocket(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return urpc.NewClient(conn), nil
}

// controlSocket makes the socket at path that a Sentry's control server will
// listen on.
func controlSocket(path string) (*os.File, error) {
	var f *os.File
	err := unixSocket(path, func(fd int, addr unix.Sockaddr) error {
		if err := unix.Bind(fd, addr); err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), path)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make socket %s: %w", path, err)
	}
	return f, nil
}

// unixSocket makes a socket and calls use, which owns it on success, with an
// address that stands for path. Addresses have room for 108 bytes, paths need
// more.
func unixSocket(path string, use func(fd int, addr unix.Sockaddr) error) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	addr := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))}
	if err := use(fd, addr); err != nil {
		unix.Close(fd)
		return err
	}
	return nil
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

package sandbox

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Dialer is what a Sandbox is besides where the host can reach programs in it.
type Dialer interface {
	// Dial opens a TCP connection to a port of the sandbox.
	Dial(ctx context.Context, port int) (net.Conn, error)
}

const (
	// idleConnection is how long a connection to a web server is kept for the
	// next request: less than servers keep theirs, so that none is closed under
	// a request.
	idleConnection = 1500 * time.Millisecond
	// shutdownGrace is how long a web server may take to end after SIGTERM.
	shutdownGrace = 5 * time.Second
)

// webServer is an instance's program that serves HTTP by itself.
type webServer struct {
	transport *http.Transport

	mu     sync.Mutex            // guards what follows
	conns  map[net.Conn]struct{} // open ones
	open   int                   // requests under way
	billed time.Time             // up to when the time with requests is accounted for; set while there are any
	fresh  bool                  // has had no request yet
}

// serveWeb makes i one that takes requests; ready is the header of its Ready frame.
func (i *Instance) serveWeb(ready []byte) error {
	port, err := strconv.Atoi(headerValue(ready, "Port"))
	if err != nil {
		return errs.Newf(errs.Internal, "the web server of %s did not say where it listens", i.Version.Function)
	}
	d, ok := i.sb.(Dialer)
	if !ok {
		return noNetwork()
	}
	w := &webServer{fresh: true, conns: map[net.Conn]struct{}{}}
	w.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return w.dial(ctx, d, port, i.sb.Done())
		},
		MaxIdleConnsPerHost: i.Version.Width(), IdleConnTimeout: idleConnection, DisableCompression: true,
	}
	i.web = w
	go func() { // a sandbox that ended can't tell the other ends of its connections
		<-i.sb.Done()
		w.cut()
	}()
	return nil
}

// DialError says that a web server could not be reached: no part of the request
// has been sent.
type DialError struct{ err error }

func (e *DialError) Error() string { return "the web server can't be reached: " + e.err.Error() }
func (e *DialError) Unwrap() error { return e.err }

var errEnded = errors.New("it has ended")

// dial opens a connection, which is known until it is closed; done is the end of
// the sandbox, which would not answer any more.
func (w *webServer) dial(ctx context.Context, d Dialer, port int, done <-chan struct{}) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-done:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	c, err := d.Dial(ctx, port)
	if err != nil {
		return nil, &DialError{err}
	}
	t := &trackedConn{Conn: c, w: w}
	w.mu.Lock()
	w.conns[t] = struct{}{}
	w.mu.Unlock()
	select {
	case <-done: // perhaps before cut could see it
		t.Close()
		return nil, &DialError{errEnded}
	default:
		return t, nil
	}
}

// cut closes all connections.
func (w *webServer) cut() {
	w.mu.Lock()
	all := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// trackedConn is a connection that its webServer knows of.
type trackedConn struct {
	net.Conn
	w *webServer
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	return c.Conn.Close()
}

func noNetwork() error {
	return errs.Newf(errs.Unsupported, "web servers need a network for functions: run the node as root, and not with --egress none")
}

// Transport returns what carries requests to the web server of i. Between Acquire
// and Release any number of requests may be under way, but each in its own Begin
// and End.
func (i *Instance) Transport() http.RoundTripper { return i.web.transport }

// Begin notes that a request begins. fresh is true for the first.
func (i *Instance) Begin() (times StartTimes, fresh bool) {
	w := i.web
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open++; w.open == 1 {
		w.billed = time.Now()
	}
	fresh, w.fresh = w.fresh, false
	return i.start, fresh
}

// End notes that a request has ended. It returns the time with requests, of the
// whole instance, since the last End, and the most memory that it had in use: time
// in which many requests were under way counts once.
func (i *Instance) End() (busy time.Duration, peak int64) {
	w := i.web
	w.mu.Lock()
	defer w.mu.Unlock()
	busy = time.Since(w.billed)
	if w.open--; w.open > 0 {
		busy = busy.Truncate(time.Millisecond) // the rest is for the next
	}
	w.billed = w.billed.Add(busy)
	return busy, i.peak.after(busy, false, i.sb)
}

// stopWeb tells a web server to end, and waits until it has.
func (i *Instance) stopWeb() {
	i.web.transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if !i.alive() || i.thaw(ctx) != nil {
		return
	}
	i.stdin.SetWriteDeadline(time.Now().Add(shutdownGrace))
	if _, err := i.stdin.Write(AppendFrame(nil, Frame{Kind: FrameShutdown})); err != nil {
		return
	}
	select {
	case <-i.sb.Done():
	case <-ctx.Done():
	}
}

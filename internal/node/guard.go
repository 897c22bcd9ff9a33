package node

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// guard looks at the heads of requests as they come over the wire. Go's server
// reads some that another program before the node may read in another way, which
// is how a request is smuggled past that program. It mends them and tells nobody;
// the guard tells, and the front refuses them.
type guard struct{ net.Listener }

// Accept implements net.Listener.
func (g guard) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: c}, nil
}

// guardedConn is a connection whose heads are looked at.
type guardedConn struct {
	net.Conn

	mu      sync.Mutex
	framing framing  // guarded by mu
	faults  []string // guarded by mu: of the heads that came and were not answered yet, "" for none
}

// Read implements net.Conn.
func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.see(p[:n])
	}
	return n, err
}

// see looks at what came: a client may send requests before it has the answers of
// those before.
func (c *guardedConn) see(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.framing.feed(p, func(fault string) { c.faults = append(c.faults, fault) })
}

// next tells the connection that a request has been answered.
func (c *guardedConn) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) > 0 {
		c.faults = append(c.faults[:0], c.faults[1:]...)
	}
}

// release tells the connection that what comes now is no HTTP.
func (c *guardedConn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.framing.lose()
}

// fault returns what is wrong with the head of the request that is being answered.
func (c *guardedConn) fault() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) == 0 {
		return ""
	}
	return c.faults[0]
}

type guardKey struct{}

// watch has a server tell its connections' guards where requests end.
func watch(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if g, ok := c.(*guardedConn); ok {
			return context.WithValue(ctx, guardKey{}, g)
		}
		return ctx
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		g, ok := c.(*guardedConn)
		switch {
		case !ok:
		case state == http.StateIdle:
			g.next()
		case state == http.StateHijacked:
			g.release()
		}
	}
}

// faultOf returns what the guard found in the head of a request.
func faultOf(r *http.Request) string {
	g, _ := r.Context().Value(guardKey{}).(*guardedConn)
	if g == nil {
		return ""
	}
	return g.fault()
}

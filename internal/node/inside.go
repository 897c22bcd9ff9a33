package node

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/mayfly-dev/mayfly/console"
	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/client"
)

// inside is a listener for clients in this process: the console calls the node's
// public API through it, whatever the node listens on outside.
type inside struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newInside() *inside { return &inside{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept implements net.Listener.
func (l *inside) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *inside) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *inside) Addr() net.Addr { return insideAddr{} }

type insideAddr struct{}

func (insideAddr) Network() string { return "inside" }
func (insideAddr) String() string  { return "inside" }

// dial connects to the node from within.
func (l *inside) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// openConsole makes the web console over the node's own API.
func (n *Node) openConsole(context.Context) error {
	n.inside = newInside()
	h := &http.Client{Transport: &http.Transport{DialContext: n.inside.dial, MaxIdleConnsPerHost: 64}}
	pages, err := console.New(console.Config{
		Keys: n.keys,
		Client: func(k access.Key) *client.Client {
			return &client.Client{Endpoint: "http://" + n.listener.Addr().String(), Region: n.cfg.Region, KeyID: k.ID, Secret: k.Secret, HTTP: h}
		},
		Log: n.log,
	})
	if err != nil {
		return err
	}
	n.front.paths = append(n.front.paths, pathHandler{console.Prefix, false, pages}, pathHandler{"/", true, welcome{n.front.rest}})
	return nil
}

// welcome leads browsers from the bare address to the console. Clients of the
// API sign what they send there.
type welcome struct{ api http.Handler }

func (h welcome) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.Header.Get("Authorization") == "" && r.URL.RawQuery == "" && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, console.Prefix, http.StatusSeeOther)
		return
	}
	h.api.ServeHTTP(w, r)
}

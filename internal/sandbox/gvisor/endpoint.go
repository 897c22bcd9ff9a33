package gvisor

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket/netstack"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// provider makes TCP sockets that may become connections to the service. It makes
// none in a sandbox without.
type provider struct {
	family int
	net    tcpip.NetworkProtocolNumber
}

// Socket implements socket.Provider. gVisor's own does the same, without the endpoint around.
func (p provider) Socket(t *kernel.Task, kind linux.SockType, protocol int) (*vfs.FileDescription, *syserr.Error) {
	service := around.Load().service.Load()
	stack, ok := t.NetworkContext().(*netstack.Stack)
	if service == nil || !ok || kind != linux.SOCK_STREAM || protocol != 0 && protocol != unix.IPPROTO_TCP {
		return nil, nil
	}
	queue := &waiter.Queue{}
	inner, err := stack.Stack.NewEndpoint(tcp.ProtocolNumber, p.net, queue)
	if err != nil {
		return nil, syserr.TranslateNetstackError(err)
	}
	inner.SetOwner(t)
	return netstack.New(t, p.family, kind, int(tcp.ProtocolNumber), queue, &endpoint{Endpoint: inner, queue: queue})
}

// Pair implements socket.Provider.
func (provider) Pair(*kernel.Task, linux.SockType, int) (*vfs.FileDescription, *vfs.FileDescription, *syserr.Error) {
	return nil, nil, nil
}

// endpoint is a TCP socket's endpoint. When it is connected to the service, it is
// one of a connection there, and what it is made around keeps the socket's options.
type endpoint struct {
	tcpip.Endpoint
	queue *waiter.Queue
	at    atomic.Pointer[service] // nil unless it is connected to it

	// Guarded by the service's mu.
	number int
	unread [][]byte // what the service has sent
	hungUp bool     // it sends no more, and nobody takes what is written
}

const (
	maxPiece  = 64 << 10 // what is taken at once of what the code writes
	maxUnread = 64 << 10 // with more to read, the code can't write
)

// Connect implements tcpip.Endpoint.
func (e *endpoint) Connect(to tcpip.FullAddress) tcpip.Error {
	if e.at.Load() != nil {
		return &tcpip.ErrAlreadyConnected{}
	}
	service := around.Load().service.Load()
	state := tcp.EndpointState(e.Endpoint.State())
	if service == nil || state != tcp.StateInitial && state != tcp.StateBound || to.Port != servicePort || !isLoopback(to.Addr) {
		return e.Endpoint.Connect(to)
	}
	return service.connect(e)
}

// isLoopback reports whether a connection to a goes to 127.0.0.1, as one to no
// address in particular does.
func isLoopback(a tcpip.Address) bool {
	b := a.AsSlice()
	if v4, mapped := bytes.CutPrefix(b, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}); mapped {
		b = v4
	}
	return bytes.Equal(b, []byte{127, 0, 0, 1}) || bytes.Equal(b, make([]byte, 4)) || len(b) == 0
}

// Close implements tcpip.Endpoint.
func (e *endpoint) Close() {
	e.leave()
	e.Endpoint.Close()
	if e.at.Load() != nil {
		e.queue.Notify(waiter.EventHUp) // there is nothing to linger for
	}
}

// Abort implements tcpip.Endpoint.
func (e *endpoint) Abort() {
	e.leave()
	e.Endpoint.Abort()
}

func (e *endpoint) leave() {
	if s := e.at.Load(); s != nil {
		s.disconnect(e, true)
	}
}

// Shutdown implements tcpip.Endpoint. The service takes the end of what the code
// writes for the end of the connection.
func (e *endpoint) Shutdown(how tcpip.ShutdownFlags) tcpip.Error {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.Shutdown(how)
	}
	s.disconnect(e, how&tcpip.ShutdownRead != 0)
	return nil
}

// Read implements tcpip.Endpoint. Its caller lets one read in at a time.
func (e *endpoint) Read(to io.Writer, opts tcpip.ReadOptions) (tcpip.ReadResult, tcpip.Error) {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.Read(to, opts)
	}
	s.mu.Lock()
	pieces, ended, wait := e.unread, e.hungUp, len(s.pending) > 0
	s.mu.Unlock()
	switch {
	case wait || len(pieces) == 0 && !ended:
		return tcpip.ReadResult{}, &tcpip.ErrWouldBlock{}
	case len(pieces) == 0:
		return tcpip.ReadResult{}, &tcpip.ErrClosedForReceive{}
	}
	total := 0
	for _, p := range pieces {
		n, err := to.Write(p)
		total += n
		if err != nil || n < len(p) {
			break
		}
	}
	if total == 0 {
		return tcpip.ReadResult{}, &tcpip.ErrBadBuffer{}
	}
	if !opts.Peek {
		s.locked(func() { e.consume(s, total) })
	}
	return tcpip.ReadResult{Count: total, Total: total}, nil
}

// consume forgets what has been read.
func (e *endpoint) consume(s *service, n int) {
	full := !e.writable(s)
	for n > 0 && len(e.unread) > 0 {
		if n < len(e.unread[0]) {
			e.unread[0] = e.unread[0][n:]
			break
		}
		n -= len(e.unread[0])
		e.unread = e.unread[1:]
	}
	if full && e.writable(s) {
		s.touch(e)
	}
}

func (e *endpoint) size() (n int) {
	for _, p := range e.unread {
		n += len(p)
	}
	return n
}

// writable reports whether the service takes more from the code.
func (e *endpoint) writable(s *service) bool {
	return e.hungUp || len(s.pending) == 0 && e.size() <= maxUnread
}

// Write implements tcpip.Endpoint.
func (e *endpoint) Write(from tcpip.Payloader, opts tcpip.WriteOptions) (written int64, _ tcpip.Error) {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.Write(from, opts)
	}
	s.copying.Lock()
	defer s.copying.Unlock()
	if s.buffer == nil {
		s.buffer = make([]byte, maxPiece)
	}
	for from.Len() > 0 {
		s.mu.Lock()
		ended, wait := e.hungUp && len(e.unread) == 0, !e.writable(s)
		s.mu.Unlock()
		switch {
		case ended && written == 0:
			return 0, &tcpip.ErrClosedForSend{}
		case wait && written == 0:
			return 0, &tcpip.ErrWouldBlock{}
		case ended || wait:
			return written, nil
		}
		n, err := from.Read(s.buffer)
		if n > 0 {
			s.locked(func() { s.server.Take(e.number, s.buffer[:n]) })
			written += int64(n)
		}
		if err != nil && err != io.EOF || n == 0 {
			break
		}
	}
	if written == 0 && from.Len() > 0 {
		return 0, &tcpip.ErrBadBuffer{}
	}
	return written, nil
}

// Readiness implements tcpip.Endpoint.
func (e *endpoint) Readiness(mask waiter.EventMask) (ready waiter.EventMask) {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.Readiness(mask)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.writable(s) {
		ready |= waiter.WritableEvents
	}
	if e.hungUp {
		ready |= waiter.EventRdHUp
	}
	if len(s.pending) == 0 && len(e.unread) > 0 || e.hungUp {
		ready |= waiter.ReadableEvents
	}
	return ready & (mask | waiter.EventHUp | waiter.EventErr)
}

// GetLocalAddress implements tcpip.Endpoint.
func (e *endpoint) GetLocalAddress() (tcpip.FullAddress, tcpip.Error) {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.GetLocalAddress()
	}
	const firstPort, ports = 32768, 28232 // Linux's range
	s.mu.Lock()
	defer s.mu.Unlock()
	return tcpip.FullAddress{Addr: loopback, Port: uint16(firstPort + e.number%ports)}, nil
}

// GetRemoteAddress implements tcpip.Endpoint.
func (e *endpoint) GetRemoteAddress() (tcpip.FullAddress, tcpip.Error) {
	if e.at.Load() == nil {
		return e.Endpoint.GetRemoteAddress()
	}
	return tcpip.FullAddress{Addr: loopback, Port: servicePort}, nil
}

var loopback = tcpip.AddrFrom4([4]byte{127, 0, 0, 1})

// GetSockOptInt implements tcpip.Endpoint.
func (e *endpoint) GetSockOptInt(opt tcpip.SockOptInt) (int, tcpip.Error) {
	s := e.at.Load()
	if s == nil || opt != tcpip.ReceiveQueueSizeOption && opt != tcpip.SendQueueSizeOption {
		return e.Endpoint.GetSockOptInt(opt)
	}
	if opt == tcpip.SendQueueSizeOption {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.size(), nil
}

// State implements tcpip.Endpoint.
func (e *endpoint) State() uint32 {
	s := e.at.Load()
	if s == nil {
		return e.Endpoint.State()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.hungUp {
		return uint32(tcp.StateCloseWait)
	}
	return uint32(tcp.StateEstablished)
}

// Bind implements tcpip.Endpoint.
func (e *endpoint) Bind(to tcpip.FullAddress) tcpip.Error {
	if e.at.Load() != nil {
		return &tcpip.ErrInvalidEndpointState{}
	}
	return e.Endpoint.Bind(to)
}

// Listen implements tcpip.Endpoint.
func (e *endpoint) Listen(backlog int) tcpip.Error {
	if e.at.Load() != nil {
		return &tcpip.ErrInvalidEndpointState{}
	}
	return e.Endpoint.Listen(backlog)
}

// Disconnect implements tcpip.Endpoint.
func (e *endpoint) Disconnect() tcpip.Error {
	if e.at.Load() != nil {
		return &tcpip.ErrNotSupported{}
	}
	return e.Endpoint.Disconnect()
}

// StateTypeName implements state.Type.
func (*endpoint) StateTypeName() string { return "mayfly.endpoint" }

// StateFields implements state.Type.
func (*endpoint) StateFields() []string {
	return []string{"Endpoint", "queue", "number", "hungUp", "at", "unread"}
}

// StateSave implements state.Type.
func (e *endpoint) StateSave(to state.Sink) {
	if s := e.at.Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	to.Save(0, &e.Endpoint)
	to.Save(1, &e.queue)
	to.Save(2, &e.number)
	to.Save(3, &e.hungUp)
	to.SaveValue(4, e.at.Load())
	to.SaveValue(5, bytes.Join(e.unread, nil))
}

// StateLoad implements state.Type.
func (e *endpoint) StateLoad(_ context.Context, from state.Source) {
	from.Load(0, &e.Endpoint)
	from.Load(1, &e.queue)
	from.Load(2, &e.number)
	from.Load(3, &e.hungUp)
	from.LoadValue(4, new(*service), func(at any) { e.at.Store(at.(*service)) })
	from.LoadValue(5, new([]byte), func(unread any) {
		if b := unread.([]byte); len(b) > 0 {
			e.unread = [][]byte{b}
		}
	})
}

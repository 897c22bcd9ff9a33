package sandbox

// Inside makes what serves the code in a sandbox from within the sandbox's own
// kernel, where a driver can have that: see Process.Serve.
type Inside struct {
	// New returns a Server for answers of up to limit bytes.
	New func(limit int, out Outlet) Server

	// Restore returns a Server that goes on where one was whose AppendState gave the
	// state, with the same connections.
	Restore func(state []byte, out Outlet) (Server, error)
}

// Server answers the code inside over connections that the driver keeps. It does
// no input or output itself, but has an Outlet do it, whose methods it calls within
// its own. Its methods take turns. The code may be hostile.
type Server interface {
	// Room reports whether another connection can be opened.
	Room() bool

	// Open takes a new connection, whose number no other ever had. There must be room.
	Open(conn int)

	// Take takes what the code sent. It keeps nothing of data.
	Take(conn int, data []byte)

	// Close says that the code has closed a connection.
	Close(conn int)

	// Full reports whether no Invoke can be received now.
	Full() bool

	// Receive takes a frame from the host but Shutdown, whose header and body are
	// not changed afterwards. It returns false for a kind that it does not know.
	Receive(kind byte, header, body []byte) bool

	// AppendState appends all that the Server knows.
	AppendState(b []byte) []byte
}

// Outlet does what a Server says. The methods don't call the Server.
type Outlet interface {
	// Frame sends a frame to the host, whose body may change afterwards.
	Frame(kind byte, header string, body []byte)

	// Answer sends head and body, which don't change afterwards, to the code, after
	// the frames before it. It reports false if the connection turned out to be
	// closed; it is not used again then.
	Answer(conn int, head, body []byte) bool

	// HangUp closes a connection, after the answers before it. It is not used again.
	HangUp(conn int)
}

package runtimeapi

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// state is where the runtime is in its life, with the names of AWS's emulator.
type state string

const (
	started      state = "Started"
	initFailed   state = "InitError"
	restoring    state = "Restoring" // asked for restore/next
	ready        state = "Ready"     // waits in next
	running      state = "Running"   // has a call
	streaming    state = "Streaming" // sends its answer in parts
	responseSent state = "RuntimeResponseSentState"
)

const (
	apiPrefix    = "/2018-06-01/runtime/"
	typeTooLarge = "Function.ResponseSizeTooLarge"
)

// api is the Runtime API's state machine. It decides what Server does.
type api struct {
	state   state
	limit   int
	call    frame   // the call that runs
	callID  string  // of the call that runs, or of the last one
	queued  *frame  // a call that came before the runtime asked for it
	waiters []*conn // in invocation/next
	copies  []*conn // in restore/next
	owes    bool    // the host waits for Ready of a copy
}

// frame is a call as the host sent it. Nobody changes its slices.
type frame struct{ header, body []byte }

// reply is the answer to a request. A nil reply means that the client waits.
type reply struct {
	status string // the status line's, or "" when head is the whole head
	head   []byte
	body   []byte
}

// outcome is what a request has to tell the host.
type outcome struct {
	kind   byte // 0: nothing
	header string
	body   []byte
}

// handle serves one request of c.
func (a *api) handle(c *conn, r *request) (*reply, outcome) {
	path, ok := strings.CutPrefix(r.path, apiPrefix)
	if !ok {
		return notFound, outcome{}
	}
	var id, what string
	switch {
	case path == "invocation/next":
		if r.method != "GET" {
			return badMethod, outcome{}
		}
		return a.next(c)
	case path == "restore/next":
		if r.method != "GET" {
			return badMethod, outcome{}
		}
		return a.restoreNext(c)
	case path == "init/error":
		what = "InitError"
	case path == "restore/error":
		what = "RestoreError"
	default:
		rest, ok := strings.CutPrefix(path, "invocation/")
		if !ok {
			return notFound, outcome{}
		}
		id, what, _ = strings.Cut(rest, "/")
		if what != "response" && what != "error" {
			return notFound, outcome{}
		}
	}
	if r.method != "POST" {
		return badMethod, outcome{}
	}
	switch what {
	case "InitError":
		return a.initError(r)
	case "RestoreError":
		return a.restoreError(r)
	case "response":
		return a.response(id, r)
	}
	return a.failure(id, r)
}

func (a *api) next(c *conn) (*reply, outcome) {
	switch a.state {
	case initFailed:
		return a.refuse("Ready"), outcome{}
	case streaming:
		return a.refuse("Ready"), outcome{}
	case running: // asked again: the same call once more, as AWS's emulator does
		return nextReply(&a.call), outcome{}
	}
	var out outcome
	if a.state == started || a.owes {
		out.kind = FrameReady
	}
	a.owes = false
	a.state = ready
	a.waiters = append(a.waiters, c)
	return nil, out
}

// restoreNext is how a runtime with hooks says that its init is done: the answer
// comes in each copy of its snapshot, or, without one, with the first call.
func (a *api) restoreNext(c *conn) (*reply, outcome) {
	if a.state != started {
		return a.refuse("Restoring"), outcome{}
	}
	a.state = restoring
	a.copies = append(a.copies, c)
	return nil, outcome{kind: FrameReady}
}

// restore is the host's word that this is a copy. It returns whom to tell; if
// that is nobody, the copy is ready.
func (a *api) restore() []*conn {
	a.owes = len(a.copies) > 0
	return a.goOn()
}

// goOn returns the connections that wait in restore/next, for good.
func (a *api) goOn() []*conn {
	told := a.copies
	a.copies = nil
	return told
}

func (a *api) restoreError(r *request) (*reply, outcome) {
	if a.state != restoring {
		return a.refuse("RestoreError"), outcome{}
	}
	a.state = initFailed
	return accepted, outcome{FrameInitError, ErrorTypeHeader(knownErrorType(r.errorType)), r.body}
}

// take gives the queued call to a waiting connection, if there are both.
func (a *api) take() (*conn, *reply) {
	if a.state != ready || a.queued == nil || len(a.waiters) == 0 {
		return nil, nil
	}
	c := a.waiters[0]
	a.waiters = a.waiters[1:]
	a.call, a.queued = *a.queued, nil
	a.callID = field(a.call.header, "Lambda-Runtime-Aws-Request-Id")
	a.state = running
	return c, nextReply(&a.call)
}

// untake puts a call back whose connection turned out to be dead.
func (a *api) untake() {
	call := a.call
	a.queued, a.state = &call, ready
}

// forget drops a connection that has closed.
func (a *api) forget(c *conn) {
	for i, w := range a.waiters {
		if w == c {
			a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
			return
		}
	}
	for i, w := range a.copies {
		if w == c {
			a.copies = append(a.copies[:i], a.copies[i+1:]...)
			return
		}
	}
}

func (a *api) initError(r *request) (*reply, outcome) {
	if a.state != started {
		return a.refuse("InitError"), outcome{}
	}
	a.state = initFailed
	body := r.body
	if r.tooLarge {
		body = ErrorDocument("Runtime.Unknown", "the error document is over the size limit")
	}
	return accepted, outcome{FrameInitError, ErrorTypeHeader(knownErrorType(r.errorType)), body}
}

func (a *api) response(id string, r *request) (*reply, outcome) {
	if refused := a.ends(id, "InvocationResponse"); refused != nil {
		return refused, outcome{}
	}
	switch {
	case r.mode != "" && r.mode != streamed:
		return errorReply("400 Bad Request", "InvalidFunctionResponseMode", "Invalid function response mode"),
			outcome{FrameFailure, ErrorTypeHeader("Runtime.InvalidResponseModeHeader"), nil}
	case r.tooLarge:
		return a.tooLarge()
	}
	return accepted, outcome{kind: FrameResponse, body: r.body}
}

// ends notes that the call of the id has its answer. Where none of it is awaited, it
// returns what the client is told; to is the state that it wanted.
func (a *api) ends(id, to string) (refused *reply) {
	if id != a.callID || a.callID == "" {
		return errorReply("400 Bad Request", "InvalidRequestID", "Invalid request ID")
	}
	if a.state != running {
		return a.refuse(to)
	}
	a.answered()
	return nil
}

// answered notes that the call that ran has its answer, and lets go of it.
func (a *api) answered() {
	a.state = responseSent
	a.call = frame{}
}

// opens reports whether r, whose head is there, begins a streamed answer, and
// says so to the host.
func (a *api) opens(r *request) (outcome, bool) {
	id, ok := strings.CutPrefix(r.path, apiPrefix+"invocation/")
	id, ok2 := strings.CutSuffix(id, "/response")
	if r.mode != streamed || r.method != "POST" || !ok || !ok2 || a.state != running || id != a.callID {
		return outcome{}, false
	}
	a.state = streaming
	kind := r.contentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	return outcome{kind: FrameHead, header: "Content-Type: " + kind + "\r\n"}, true
}

// closes ends the streamed answer of r. One that failed midway says how in its
// trailers.
func (a *api) closes(r *request) outcome {
	a.answered()
	if r.errorType == "" {
		return outcome{kind: FrameEnd}
	}
	body, err := base64.StdEncoding.DecodeString(r.errorBody)
	if err != nil {
		body = ErrorDocument(r.errorType, "the error body in the trailer is not base64")
	}
	return outcome{FrameEnd, ErrorTypeHeader(r.errorType), body}
}

// breaks ends a streamed answer whose connection closed before its end.
func (a *api) breaks() outcome {
	a.answered()
	const typ = "Runtime.TruncatedResponse"
	return outcome{FrameEnd, ErrorTypeHeader(typ), ErrorDocument(typ, "the runtime closed its connection within a streamed answer")}
}

func (a *api) failure(id string, r *request) (*reply, outcome) {
	if refused := a.ends(id, "InvocationErrorResponse"); refused != nil {
		return refused, outcome{}
	}
	if r.tooLarge {
		return a.tooLarge()
	}
	return accepted, outcome{FrameFailure, ErrorTypeHeader(knownErrorType(r.errorType)), r.body}
}

func (a *api) tooLarge() (*reply, outcome) {
	max := strconv.Itoa(a.limit)
	words := "Response payload size exceeded maximum allowed payload size (" + max + " bytes)."
	return errorReply("413 Request Entity Too Large", "RequestEntityTooLarge",
			"Exceeded maximum allowed payload size ("+max+" bytes)."),
		outcome{FrameFailure, ErrorTypeHeader(typeTooLarge), ErrorDocument(typeTooLarge, words)}
}

func (a *api) refuse(to string) *reply {
	return errorReply("403 Forbidden", "InvalidStateTransition",
		"State transition from "+string(a.state)+" to "+to+
			" failed for runtime. Error: State transition is not allowed")
}

var (
	accepted  = &reply{status: "202 Accepted", body: []byte(`{"status":"OK"}` + "\n")}
	restored  = &reply{status: "200 OK", body: []byte("{}\n")}
	notFound  = &reply{status: "404 Not Found", body: []byte("404 page not found\n")}
	badMethod = &reply{status: "405 Method Not Allowed"}
)

func errorReply(status, errorType, message string) *reply {
	return &reply{status: status, body: ErrorDocument(errorType, message)}
}

// ErrorDocument returns Lambda's error document. Its arguments are our
// own words and paths, and may need no more escaping than quotes.
func ErrorDocument(errorType, message string) []byte {
	b := append([]byte(nil), `{"errorMessage":`...)
	b = appendJSON(b, message)
	b = append(b, `,"errorType":`...)
	b = appendJSON(b, errorType)
	return append(b, '}')
}

func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// ErrorTypeHeader is the header of a frame with an error document.
func ErrorTypeHeader(t string) string { return "Error-Type: " + t + "\r\n" }

// knownErrorType returns t if it holds (Runtime|Function)\.[A-Z][a-zA-Z]+, and
// else the Unknown of its kind, as AWS's emulator does.
func knownErrorType(t string) string {
	for i := range t {
		rest, ok := strings.CutPrefix(t[i:], "Runtime.")
		if !ok {
			rest, ok = strings.CutPrefix(t[i:], "Function.")
		}
		if ok && len(rest) >= 2 && 'A' <= rest[0] && rest[0] <= 'Z' && isLetter(rest[1]) {
			return t
		}
	}
	if strings.HasPrefix(t, "Function.") {
		return "Function.Unknown"
	}
	return "Runtime.Unknown"
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// nextReply returns the answer to next. The call's own header is part of its head.
func nextReply(f *frame) *reply {
	b := make([]byte, 0, len(f.header)+96)
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"...)
	b = append(b, f.header...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(f.body)), 10)
	return &reply{head: append(b, "\r\n\r\n"...), body: f.body}
}

// field returns the value of a header line of a frame, "" if there is none.
func field(header []byte, name string) string {
	for _, line := range strings.Split(string(header), "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

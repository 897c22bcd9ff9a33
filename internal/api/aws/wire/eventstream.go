package wire

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// EventStream is an answer that is made while it is sent: it sends events until
// it returns. An error before the first event is answered like any other; after
// it, it breaks the connection, so that the caller can't take the part for the
// whole.
type EventStream func(w *EventWriter) error

// eventStreamType is the content type of event streams.
const eventStreamType = "application/vnd.amazon.eventstream"

// EventWriter sends the events of one answer. It is not safe for concurrent use.
type EventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	status  int
	begun   bool
	initial string // JSON 1.x: the content type of the message that begins the stream
	encoder *eventstream.Encoder
}

func newEventWriter(w http.ResponseWriter, status int) *EventWriter {
	return &EventWriter{w: w, control: http.NewResponseController(w), status: status, encoder: eventstream.NewEncoder()}
}

// Header returns the headers of the answer, which can be set until Begin.
func (w *EventWriter) Header() http.Header { return w.w.Header() }

// SetWriteDeadline bounds the time that a slow reader can hold Send up.
func (w *EventWriter) SetWriteDeadline(t time.Time) error { return w.control.SetWriteDeadline(t) }

// Begin sends the headers; the first Send does so too.
func (w *EventWriter) Begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	w.w.Header().Set("Content-Type", eventStreamType)
	w.w.WriteHeader(w.status)
	if w.initial != "" {
		msg := eventstream.Message{Payload: []byte("{}")}
		msg.Headers.Set(":message-type", eventstream.StringValue("event"))
		msg.Headers.Set(":event-type", eventstream.StringValue("initial-response"))
		msg.Headers.Set(":content-type", eventstream.StringValue(w.initial))
		if err := w.encoder.Encode(w.w, msg); err != nil {
			return err
		}
	}
	return w.control.Flush()
}

// Send sends one event: the member of the union event that is set. It has left
// the node when Send returns.
func (w *EventWriter) Send(event Struct) error {
	msg, err := eventMessage(event)
	if err != nil {
		return err
	}
	if err := w.Begin(); err != nil {
		return err
	}
	if err := w.encoder.Encode(w.w, msg); err != nil {
		return err
	}
	return w.control.Flush()
}

// eventMessage puts an event into the form of the wire: what it carries is its
// payload, raw if the model marks a blob as that, else JSON.
func eventMessage(event Struct) (eventstream.Message, error) {
	u := &unionFinder{shape: event.Shape()}
	event.Walk(u)
	payload := &restWriter{shape: u.event.Shape(), header: http.Header{}, status: new(int)}
	u.event.Walk(payload)
	var msg eventstream.Message
	kind := "application/octet-stream"
	if payload.shape.payload() >= 0 {
		if payload.payload != nil {
			msg.Payload = load[[]byte](payload.payload)
		}
	} else {
		var err error
		if msg.Payload, err = appendJSON(nil, u.event, false); err != nil {
			return msg, err
		}
		kind = "application/json"
	}
	msg.Headers.Set(":message-type", eventstream.StringValue("event"))
	msg.Headers.Set(":event-type", eventstream.StringValue(u.name))
	msg.Headers.Set(":content-type", eventstream.StringValue(kind))
	return msg, nil
}

// unionFinder finds the member of a union that is set.
type unionFinder struct {
	shape *Shape
	name  string
	event Struct
}

// Member implements Walker.
func (u *unionFinder) Member(i int, place any) {
	if s := structOf(place); s != nil {
		u.name, u.event = u.shape.Members[i].WireName(), s
	}
}

// sendEvents answers with an event stream.
func (x *exchange) sendEvents(res *response) error {
	w := newEventWriter(x.w, res.status)
	w.initial = res.kind
	err := res.events(w)
	if err != nil && !w.begun {
		return err
	}
	if err != nil {
		if x.req.http.Context().Err() == nil {
			x.mux.log.Error("an event stream broke off", "request", x.req.id, "operation", x.operationName(), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return w.Begin() // for a stream without events
}

// eventsOf returns the event stream among the members of an output of JSON 1.x,
// where no member is marked as the payload; nil if there is none.
func eventsOf(out Struct) EventStream {
	f := &eventsFinder{shape: out.Shape()}
	out.Walk(f)
	return f.events
}

type eventsFinder struct {
	shape  *Shape
	events EventStream
}

// Member implements Walker.
func (f *eventsFinder) Member(i int, place any) {
	if f.shape.Members[i].Type == TypeEvents {
		f.events = load[EventStream](place)
	}
}

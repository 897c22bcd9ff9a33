package wire_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// part, done and event are an event union as a generator would write it.
type part struct{ Bytes []byte }

var partShape = wire.Shape{Name: "Part", Members: []wire.Member{{Name: "Bytes", Type: wire.TypeBlob, Loc: wire.InPayload}}}

func (*part) Shape() *wire.Shape   { return &partShape }
func (p *part) Walk(w wire.Walker) { w.Member(0, &p.Bytes) }

type done struct{ Code *string }

var doneShape = wire.Shape{Name: "Done", Members: []wire.Member{{Name: "Code", Type: wire.TypeString}}}

func (*done) Shape() *wire.Shape   { return &doneShape }
func (d *done) Walk(w wire.Walker) { w.Member(0, &d.Code) }

type event struct {
	Done *done
	Part *part
}

var eventShape = wire.Shape{Name: "Event", Union: true, Members: []wire.Member{
	{Name: "Done", Type: wire.TypeStructure}, {Name: "Part", Type: wire.TypeStructure},
}}

func (*event) Shape() *wire.Shape { return &eventShape }
func (e *event) Walk(w wire.Walker) {
	w.Member(0, wire.Ptr(&e.Done))
	w.Member(1, wire.Ptr(&e.Part))
}

type events struct{ Stream wire.EventStream }

var eventsShape = wire.Shape{Name: "Output", Members: []wire.Member{{Name: "Stream", Type: wire.TypeEvents, Loc: wire.InPayload}}}

func (*events) Shape() *wire.Shape   { return &eventsShape }
func (e *events) Walk(w wire.Walker) { w.Member(0, &e.Stream) }

func streamMux(s wire.EventStream) *wire.Mux {
	return newMux(&wire.Service{Name: "lambda", Protocols: []wire.Protocol{wire.RESTJSON}, Operations: []*wire.Operation{{
		Name: "Stream", Method: "POST", Path: "/stream",
		Handler: wire.Handle(func(context.Context, *done) (*events, error) { return &events{s}, nil }),
	}}})
}

func TestEventsAreFramedAsTheSDKsReadThem(t *testing.T) {
	m := streamMux(func(w *wire.EventWriter) error {
		w.Header().Set("X-Amz-Executed-Version", "7")
		return errors.Join(
			w.Send(&event{Part: &part{[]byte("one")}}),
			w.Send(&event{Part: &part{}}),
			w.Send(&event{Done: &done{new("Oops")}}))
	})
	a := exchange(t, m, "lambda", "POST", "/stream", nil, []byte("{}"))
	if a.Code != 200 || a.Header().Get("Content-Type") != "application/vnd.amazon.eventstream" || a.Header().Get("X-Amz-Executed-Version") != "7" || !a.Flushed {
		t.Errorf("status %d, headers %v, flushed %v", a.Code, a.Header(), a.Flushed)
	}
	body := bytes.NewReader(a.Body.Bytes())
	for _, want := range []struct{ name, kind, payload string }{
		{"Part", "application/octet-stream", "one"}, {"Part", "application/octet-stream", ""}, {"Done", "application/json", `{"Code":"Oops"}`},
	} {
		msg, err := eventstream.NewDecoder().Decode(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Payload) != want.payload {
			t.Errorf("payload %q, want %q", msg.Payload, want.payload)
		}
		for name, value := range map[string]string{":message-type": "event", ":event-type": want.name, ":content-type": want.kind} {
			if got := msg.Headers.Get(name); got == nil || got.String() != value {
				t.Errorf("header %s is %v, want %s", name, got, value)
			}
		}
	}
	if body.Len() != 0 {
		t.Errorf("%d bytes follow the last event", body.Len())
	}
}

func TestEventStreamThatFailsBeforeItsFirstEventIsAnError(t *testing.T) {
	m := streamMux(func(w *wire.EventWriter) error {
		return wire.Errorf("ResourceNotFoundException", "no function")
	})
	a := exchange(t, m, "lambda", "POST", "/stream", nil, []byte("{}"))
	if a.Header().Get("X-Amzn-Errortype") != "ResourceNotFoundException" || !bytes.Contains(a.Body.Bytes(), []byte("no function")) {
		t.Errorf("status %d, headers %v, body %s", a.Code, a.Header(), a.Body)
	}
}

func TestEventStreamThatFailsMidwayBreaksTheConnection(t *testing.T) {
	defer func() {
		if v := recover(); v != any(http.ErrAbortHandler) {
			t.Errorf("recovered %v", v)
		}
	}()
	m := streamMux(func(w *wire.EventWriter) error {
		return errors.Join(w.Send(&event{Part: &part{[]byte("one")}}), errors.New("the disk is gone"))
	})
	exchange(t, m, "lambda", "POST", "/stream", nil, []byte("{}"))
	t.Error("the connection was not broken")
}

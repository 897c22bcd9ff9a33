package delivery

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

func TestWebhookTakesTheBodyAndItsStatusSaysWhetherToTryAgain(t *testing.T) {
	var got, id string
	status := 204
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, id = r.Method+" "+r.URL.Path+" "+string(body), r.Header.Get("Mayfly-Message-Id")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	w := NewWebhooks()
	target := event.Target{Kind: event.API, Name: server.URL + "/hook"}
	for s, want := range map[int]errs.Kind{
		400: errs.Invalid, 404: errs.Invalid, 408: errs.Unavailable, 429: errs.Unavailable, 500: errs.Unavailable, 302: errs.Unavailable,
	} {
		status = s
		if err := w.Send(t.Context(), target, event.Message{Body: []byte(`{}`)}); !errs.Is(err, want) {
			t.Errorf("status %d: %v, want %s", s, err, want)
		}
	}
	status = 204
	if err := w.Send(t.Context(), target, event.Message{ID: "m", Body: []byte(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	if got != `POST /hook {"a":1}` || id != "m" {
		t.Errorf("the webhook got %s with id %s", got, id)
	}
	server.Close()
	if err := w.Send(t.Context(), target, event.Message{}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("nobody listens: %v, want unavailable", err)
	}
}

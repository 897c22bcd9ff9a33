package delivery

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

const webhookTimeout = 10 * time.Second

// Webhooks is the Sender of event.API: it posts a message's body, which is JSON,
// to the target's URL. Header Mayfly-Message-Id is the message's ID.
type Webhooks struct{ client http.Client }

// NewWebhooks returns a Sender that does not follow redirects.
func NewWebhooks() *Webhooks {
	return &Webhooks{http.Client{
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send implements event.Sender. A status that says that the request is wrong is
// Invalid, all others but success are worth another try.
func (w *Webhooks) Send(ctx context.Context, t event.Target, m event.Message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Name, bytes.NewReader(m.Body))
	if err != nil {
		return errs.Newf(errs.Invalid, "%q is not a URL to post to: %w", t.Name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Mayfly-Message-Id", m.ID)
	a, err := w.client.Do(req)
	if err != nil {
		return errs.Newf(errs.Unavailable, "the webhook does not answer: %w", err)
	}
	defer a.Body.Close()
	io.CopyN(io.Discard, a.Body, 64<<10) // so that the connection is of further use
	switch s := a.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests:
		return errs.Newf(errs.Invalid, "the webhook %s answered %s", t.Name, a.Status)
	default:
		return errs.Newf(errs.Unavailable, "the webhook %s answered %s", t.Name, a.Status)
	}
}

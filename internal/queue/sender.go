package queue

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/event"
)

// Sender returns q as the node's sender to queues. It drops a message whose ID it
// has sent within the deduplication window, or whose first sending is still in
// the queue.
func (q *Queues) Sender() event.Sender { return sender{q} }

type sender struct{ q *Queues }

// Send implements event.Sender.
func (s sender) Send(ctx context.Context, t event.Target, m event.Message) error {
	out := Message{Body: string(m.Body), Group: m.Group, TraceID: m.TraceID, Sender: m.Source, Lineage: m.Lineage, own: m.ID}
	if len(m.Attributes) > 0 {
		out.Attributes = make(map[string]Attribute, len(m.Attributes))
		for k, v := range m.Attributes {
			out.Attributes[k] = Attribute{Type: "String", Data: []byte(v)}
		}
	}
	sent, err := s.q.Send(ctx, t.Name, out)
	if err != nil {
		return err
	}
	return sent[0].Err
}

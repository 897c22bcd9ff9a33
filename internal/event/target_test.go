package event

import (
	"context"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

type taken []Target

func (t *taken) Send(_ context.Context, to Target, _ Message) error {
	*t = append(*t, to)
	return nil
}

func TestSendersPassAMessageToTheKindsSenderOnly(t *testing.T) {
	var queues taken
	s := Senders{Queue: &queues}
	orders := Target{Kind: Queue, Name: "orders"}
	if err := s.Send(t.Context(), orders, Message{}); err != nil || len(queues) != 1 || queues[0] != orders {
		t.Errorf("sent to %v, %v", queues, err)
	}
	if err := s.Send(t.Context(), Target{Kind: Bus, Name: "default"}, Message{}); !errs.Is(err, errs.Unsupported) {
		t.Errorf("a kind without a sender: %v, want unsupported", err)
	}
}

func TestLineageCountsPassesAndLeavesItsOriginAlone(t *testing.T) {
	var l Lineage
	a := l.With("f").With("g").With("f")
	if a.Counts["f"] != 2 || a.Counts["g"] != 1 || len(l.Counts) != 0 {
		t.Errorf("lineage %v of %v", a, l)
	}
}

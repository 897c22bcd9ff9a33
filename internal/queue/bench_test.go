package queue

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/spine"
)

func benchQueues(b *testing.B) *Queues {
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(b.Context(), spine.Config{Dir: b.TempDir(), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	bucket, _ := s.Bucket(b.Context(), spine.QueuesBucket)
	moves, _ := s.Bucket(b.Context(), spine.MovesBucket)
	journal, _ := s.QueueChanges(b.Context())
	q, err := Open(b.Context(), Options{Spine: s, Bucket: bucket, Moves: moves, Journal: journal, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	if _, err := q.Create(b.Context(), "q", DefaultConfig(), nil); err != nil {
		b.Fatal(err)
	}
	return q
}

func BenchmarkSend64(b *testing.B) {
	q := benchQueues(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if s, err := q.Send(b.Context(), "q", Message{Body: "hello, queue"}); err != nil || s[0].Err != nil {
				b.Fatal(err, s)
			}
		}
	})
}

func BenchmarkSend1(b *testing.B) {
	q := benchQueues(b)
	for b.Loop() {
		if s, err := q.Send(b.Context(), "q", Message{Body: "hello, queue"}); err != nil || s[0].Err != nil {
			b.Fatal(err, s)
		}
	}
}

func BenchmarkSendReceiveDelete(b *testing.B) {
	q := benchQueues(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if s, err := q.Send(b.Context(), "q", Message{Body: "hello, queue"}); err != nil || s[0].Err != nil {
				b.Fatal(err, s)
			}
			ds, err := q.Receive(b.Context(), "q", Receive{Max: 1, Wait: new(time.Second)})
			if err != nil || len(ds) != 1 {
				b.Fatal(ds, err)
			}
			if f, err := q.Delete(b.Context(), "q", ds[0].Handle); err != nil || f[0] != nil {
				b.Fatal(f, err)
			}
		}
	})
}

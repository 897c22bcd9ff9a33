package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// call makes one request and checks its answer.
type call func(ctx context.Context) error

// series is latencies in milliseconds.
type series []float64

func (s *series) add(d time.Duration) { *s = append(*s, d.Seconds()*1e3) }

// q returns the p-quantile, from 0 to 1.
func (s series) q(p float64) float64 {
	if len(s) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s))
	return v[int(p*float64(len(v)-1)+.5)]
}

// sequence makes n calls one after another.
func sequence(ctx context.Context, c call, n int) (series, error) {
	s := make(series, 0, n)
	for range n {
		began := time.Now()
		if err := c(ctx); err != nil {
			return nil, err
		}
		s.add(time.Since(began))
	}
	return s, nil
}

// crowd makes calls from n callers for the span and returns calls per second.
func crowd(ctx context.Context, c call, n int, span time.Duration) (perSecond float64, err error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	began := time.Now()
	for range n {
		wg.Go(func() {
			for time.Since(began) < span && ctx.Err() == nil && failed.Load() == nil {
				if err := c(ctx); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		return 0, *p
	}
	return float64(done.Load()) / time.Since(began).Seconds(), ctx.Err()
}

package meter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// Journal keeps batches of records durably, in the order they came, until the
// ledger has them. Batches are numbered upwards from 1.
type Journal interface {
	// Append returns a nil error only when the batch survives a power cut, and
	// the batch's number. An error leaves open whether it was kept, so the caller
	// repeats it with the same id; a journal that still knows the id must not
	// keep it twice. batch is not retained.
	Append(ctx context.Context, id string, batch []byte) (number uint64, err error)

	// Read calls fn with each batch whose number is above after, in order, up to
	// the last when it was called. It stops at fn's first error and returns it.
	// batch is valid only during the call.
	Read(ctx context.Context, after uint64, fn func(number uint64, batch []byte) error) error

	// Last returns the number of the batch that was appended last, 0 if none was.
	Last(ctx context.Context) (uint64, error)

	// Trim forgets the batches up to a number. Numbers are not used again.
	Trim(ctx context.Context, upTo uint64) error
}

// decodeBatch returns the records of a batch, one for each line.
func decodeBatch(batch []byte) ([]Record, error) {
	records := make([]Record, 0, bytes.Count(batch, []byte{'\n'}))
	for line := range bytes.Lines(batch) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("decode record: %w", err)
		}
		records = append(records, r)
	}
	return records, nil
}

// seen remembers the latest keys, between seenWindow and twice as many, so that
// its memory is bounded. A record is written twice only when a batch is
// repeated, which the recorder does before it sends any later batch: the two
// copies are at most a batch apart.
type seen struct{ young, old map[string]struct{} }

const seenWindow = 16 * maxBatch

// first reports whether key was not seen before, and remembers it.
func (s *seen) first(key string) bool {
	if _, dup := s.young[key]; dup {
		return false
	}
	if _, dup := s.old[key]; dup {
		return false
	}
	if s.young == nil || len(s.young) >= seenWindow {
		s.old, s.young = s.young, make(map[string]struct{}, seenWindow)
	}
	s.young[key] = struct{}{}
	return true
}

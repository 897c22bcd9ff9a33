package meter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Journal keeps batches of records durably, in the order they came.
type Journal interface {
	// Append returns nil only when the batch survives a power cut. An error
	// leaves open whether it was kept, so the caller repeats it with the same
	// id; a journal that still knows the id must not keep it twice. batch is
	// not retained.
	Append(ctx context.Context, id string, batch []byte) error

	// Read calls fn with each batch appended at or after from, oldest first,
	// up to those there when it was called. It stops at fn's first error and
	// returns it. batch is valid only during the call.
	Read(ctx context.Context, from time.Time, fn func(batch []byte) error) error
}

// encodeBatch is one JSON record a line.
func encodeBatch(records []Record) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range records {
		if err := enc.Encode(&records[i]); err != nil {
			panic("meter: a Record always marshals: " + err.Error())
		}
	}
	return b.Bytes()
}

// decodeBatch calls fn with each record of a batch. The pointer is fn's to keep.
func decodeBatch(batch []byte, fn func(*Record)) error {
	for line := range bytes.Lines(batch) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		r := new(Record)
		if err := json.Unmarshal(line, r); err != nil {
			return fmt.Errorf("decode record: %w", err)
		}
		fn(r)
	}
	return nil
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

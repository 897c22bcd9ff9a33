package bucket

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// sequenceKey is where the numbers that are given out are kept, beside the rules of
// buckets: no key of theirs is in lower case.
const sequenceKey = "sequence"

// reserved is how many numbers one write sets aside.
const reserved = 1 << 16

// sequence gives out numbers that grow, also over restarts. Those that were set
// aside when a node ended are left out. It is safe for concurrent use.
type sequence struct {
	kept *spine.Bucket

	mu   sync.Mutex
	last uint64 // guarded by mu
	most uint64 // guarded by mu: up to it, numbers may be given out
}

// open reads up to where numbers were set aside. Nodes of before took the numbers
// of the outbox.
func (s *sequence) open(ctx context.Context, outbox *spine.Outbox) error {
	b, _, err := s.kept.Get(ctx, sequenceKey)
	switch {
	case errs.Is(err, errs.NotFound):
		s.last, err = outbox.Last(ctx)
	case err == nil:
		err = json.Unmarshal(b, &s.last)
	}
	if err != nil {
		return fmt.Errorf("read the sequence of objects' changes: %w", err)
	}
	s.most = s.last
	return nil
}

// next returns a number that is greater than all before.
func (s *sequence) next(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == s.most {
		b, err := json.Marshal(s.most + reserved)
		if err != nil {
			return 0, err
		}
		if err := s.kept.Put(ctx, sequenceKey, b); err != nil {
			return 0, err
		}
		s.most += reserved
	}
	s.last++
	return s.last, nil
}

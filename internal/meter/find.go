package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Search selects single records. Those over 30 days old may be gone: what they
// add up to is not.
type Search struct {
	Function string    // "" means all
	Since    time.Time // inclusive, of Start; zero means from the oldest
	Until    time.Time // exclusive; zero means to the newest
	Failed   bool      // only outcomes other than ok
	Cold     bool      // only calls that waited for an init
	Limit    int       // the latest so many; 0 means 100
}

func (s *Search) selects(r *Record) bool {
	return (s.Function == "" || r.Function == s.Function) &&
		!r.Start.Before(s.Since) && (s.Until.IsZero() || r.Start.Before(s.Until)) &&
		(!s.Failed || r.Outcome != OK) && (!s.Cold || r.Init > 0)
}

// mayHold reports whether a block can have a selected record.
func (s *Search) mayHold(x *index) bool {
	return (!s.Failed || x.failed > 0) && (s.Function == "" || x.holdsFunction(s.Function)) &&
		(s.Since.IsZero() || x.last >= s.Since.UnixNano()) && (s.Until.IsZero() || x.first < s.Until.UnixNano())
}

// words are in the line of each selected record.
func (s *Search) words() (words [][]byte) {
	if s.Function != "" {
		words = append(words, quoted(s.Function))
	}
	if s.Cold {
		words = append(words, []byte(`"init":`))
	}
	return words
}

// Records returns the latest records that s selects, in the order in which they
// were journalled. Records that were added before the call are among them.
func (l *Ledger) Records(ctx context.Context, s Search) ([]Record, error) {
	limit := cmp.Or(s.Limit, 100)
	if limit < 0 {
		return nil, errs.Newf(errs.Invalid, "a limit of %d records makes no sense", limit)
	}
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	var found []Record
	err := l.back(ctx, func(x *index) bool { return s.mayHold(x) }, s.words(), func(r *Record) bool {
		if s.selects(r) {
			found = append(found, *r)
		}
		return len(found) < limit
	})
	slices.Reverse(found)
	return found, err
}

// Record returns the records of a request id, one for each attempt, in their
// order; NotFound if there is none.
func (l *Ledger) Record(ctx context.Context, requestID string) ([]Record, error) {
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	hash := hashID(requestID)
	var found []Record
	err := l.back(ctx, func(x *index) bool { return x.mayHoldID(hash) }, [][]byte{quoted(requestID)}, func(r *Record) bool {
		if r.RequestID == requestID {
			found = append(found, *r)
		}
		return true
	})
	if err == nil && len(found) == 0 {
		err = errs.Newf(errs.NotFound, "there is no record of a request %s: it may be older than what is kept", strings.ToValidUTF8(requestID, "?"))
	}
	slices.SortFunc(found, func(a, b Record) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return found, err
}

// back calls fn with each record of the blocks worth opening whose line has all
// of the words, the latest first, until fn returns false.
func (l *Ledger) back(ctx context.Context, worth func(*index) bool, words [][]byte, fn func(*Record) bool) error {
	err := l.db.View(func(tx *bbolt.Tx) error {
		return newestFirst(tx, func(key []byte, x *index) (bool, error) {
			if !worth(x) {
				return true, ctx.Err()
			}
			lines, err := getLines(tx, key)
			if err != nil {
				return false, err
			}
			more := true
			err = eachBack(lines, words, func(r *Record) bool {
				more = fn(r)
				return more
			})
			return more, errors.Join(err, ctx.Err())
		})
	})
	if err != nil {
		return fmt.Errorf("search the ledger: %w", err)
	}
	return nil
}

// Recent are the records that ended last: what a log may be compared with after
// a crash.
type Recent struct {
	Since   time.Time // all that ended at or after it are there
	Records map[string]Record
}

// Has reports whether r is among them.
func (r *Recent) Has(rec *Record) bool {
	_, ok := r.Records[rec.key()]
	return ok
}

// Recent returns the records that ended within the last moments before the last
// one that is known. Since is zero if there are none at all.
func (l *Ledger) Recent(ctx context.Context, moments time.Duration) (Recent, error) {
	out := Recent{Records: map[string]Record{}}
	if err := l.settle(ctx); err != nil {
		return out, err
	}
	// A call's record comes when it has ended, so records are nearly in the order of
	// their ends: a block's worth of older ones shows that there are no more.
	older := 0
	err := l.back(ctx, func(*index) bool { return true }, nil, func(r *Record) bool {
		end := r.End()
		if out.Since.IsZero() || end.After(out.Since.Add(moments)) {
			out.Since = end.Add(-moments)
		}
		if end.Before(out.Since) {
			older++
		}
		out.Records[r.key()] = *r
		return older < blockSize
	})
	return out, err
}

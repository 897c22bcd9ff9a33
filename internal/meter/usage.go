package meter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// By is what usage is added up by.
type By string

// The groupings. Days and months are those of UTC.
const (
	ByFunction By = "function"
	ByDay      By = "day"
	ByMonth    By = "month"
)

// Query selects records by the start of their invocation.
type Query struct {
	By       By        // Usage only
	Function string    // "" means all
	Since    time.Time // inclusive; zero means from the beginning
	Until    time.Time // exclusive; zero means to the end
	Limit    int       // Records only: the latest so many; 0 means 100
}

// Usage is what the records of one group add up to. Quantities are whole
// numbers of small units, so that sums are exact.
type Usage struct {
	Key          string        `json:"key"` // function, 2006-01-02 or 2006-01; "" for a total
	Requests     int64         `json:"requests"`
	Errors       int64         `json:"errors"` // outcomes other than ok
	ColdStarts   int64         `json:"coldStarts"`
	Duration     time.Duration `json:"durationNs"`
	Billed       time.Duration `json:"billedNs"`
	MBMillis     int64         `json:"mbMillis"`        // memory x billed time
	TmpMBMillis  int64         `json:"storageMBMillis"` // charged storage x billed time
	GBSeconds    string        `json:"gbSeconds"`       // MBMillis as a decimal number, six places
	RequestCost  Money         `json:"requestCost"`
	DurationCost Money         `json:"durationCost"`
	StorageCost  Money         `json:"storageCost"`
	Cost         Money         `json:"cost"`
}

// Bill is usage with its price.
type Bill struct {
	By     By         `json:"by"`
	Prices PriceSheet `json:"prices"`
	Lines  []Usage    `json:"lines"` // sorted by Key
	Total  Usage      `json:"total"` // priced from the summed quantities, so rounding shows at most once
}

const mbMillisPerGBSecond = 1024 * 1000

// add counts one record.
func (u *Usage) add(r *Record, p *PriceSheet) {
	u.Requests++
	if r.Outcome != OK {
		u.Errors++
	}
	if r.Init > 0 {
		u.ColdStarts++
	}
	u.Duration += r.Duration
	u.Billed += r.Billed
	ms := int64(r.Billed / time.Millisecond)
	u.MBMillis += int64(r.MemoryMB) * ms
	u.TmpMBMillis += int64(max(r.TmpMB-p.FreeStorageMB, 0)) * ms
}

func (u *Usage) price(p *PriceSheet) {
	micro := u.MBMillis / mbMillisPerGBSecond * 1e6
	micro += (u.MBMillis%mbMillisPerGBSecond*1e6 + mbMillisPerGBSecond/2) / mbMillisPerGBSecond
	u.GBSeconds = fmt.Sprintf("%d.%06d", micro/1e6, micro%1e6)
	u.RequestCost = p.MillionCalls.times(u.Requests, 1e6)
	u.DurationCost = p.GBSecond.times(u.MBMillis, mbMillisPerGBSecond)
	u.StorageCost = p.StorageSecond.times(u.TmpMBMillis, mbMillisPerGBSecond)
	u.Cost = u.RequestCost.plus(u.DurationCost).plus(u.StorageCost)
}

// Bill adds up the records that q selects, at the prices of p. Records that
// were added before the call count, whether or not they reached the journal
// before it.
func (r *Recorder) Bill(ctx context.Context, q Query, p PriceSheet) (Bill, error) {
	if q.By == "" {
		q.By = ByFunction
	}
	if q.By != ByFunction && q.By != ByDay && q.By != ByMonth {
		return Bill{}, errs.Newf(errs.Invalid, "usage can't be added up by %q: use function, day or month", q.By)
	}
	b := Bill{By: q.By, Prices: p, Lines: []Usage{}}
	groups := map[string]*Usage{}
	err := r.read(ctx, q, func(rec *Record) {
		k := q.By.key(rec)
		if groups[k] == nil {
			groups[k] = &Usage{Key: k}
		}
		groups[k].add(rec, &p)
		b.Total.add(rec, &p)
	})
	if err != nil {
		return Bill{}, err
	}
	for _, u := range groups {
		u.price(&p)
		b.Lines = append(b.Lines, *u)
	}
	slices.SortFunc(b.Lines, func(x, y Usage) int { return cmp.Compare(x.Key, y.Key) })
	b.Total.price(&p)
	return b, nil
}

func (by By) key(r *Record) string {
	switch by {
	case ByDay:
		return r.Start.UTC().Format(time.DateOnly)
	case ByMonth:
		return r.Start.UTC().Format("2006-01")
	default:
		return r.Function
	}
}

// Records returns the latest records that q selects, in the order in which
// they were journalled.
func (r *Recorder) Records(ctx context.Context, q Query) ([]Record, error) {
	limit := cmp.Or(q.Limit, 100)
	if limit < 0 {
		return nil, errs.Newf(errs.Invalid, "a limit of %d records makes no sense", limit)
	}
	ring := make([]Record, 0, min(limit, 1000))
	next := 0
	err := r.read(ctx, q, func(rec *Record) {
		if len(ring) < limit {
			ring = append(ring, *rec)
			return
		}
		ring[next] = *rec
		next = (next + 1) % limit
	})
	if err != nil {
		return nil, err
	}
	return append(ring[next:len(ring):len(ring)], ring[:next]...), nil
}

// clockSlack is how far the clock may have been set back between the start of
// an invocation and the append of its record.
const clockSlack = time.Hour

// read calls fn once with each record that q selects.
func (r *Recorder) read(ctx context.Context, q Query, fn func(*Record)) error {
	if err := r.Flush(ctx); err != nil {
		return errs.Newf(errs.Unavailable, "the latest records can't be written: %w", err)
	}
	from := q.Since
	if !from.IsZero() {
		from = from.Add(-clockSlack)
	}
	var met seen
	err := r.journal.Read(ctx, from, func(batch []byte) error {
		return decodeBatch(batch, func(rec *Record) {
			in := (q.Function == "" || rec.Function == q.Function) &&
				!rec.Start.Before(q.Since) && (q.Until.IsZero() || rec.Start.Before(q.Until))
			if in && met.first(rec.key()) {
				fn(rec)
			}
		})
	})
	if err != nil {
		return fmt.Errorf("read the meter's journal: %w", err)
	}
	return nil
}

package meter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// By is what usage is added up by.
type By string

// The groupings. Minutes to months are those of UTC.
const (
	ByFunction By = "function"
	ByVersion  By = "version" // FUNCTION:VERSION
	ByAlias    By = "alias"   // FUNCTION:ALIAS, or FUNCTION for calls that named none
	ByTag      By = "tag"     // Query.Tag's values, or KEY=VALUE for each tag
	ByMonth    By = "month"
	ByDay      By = "day"
	ByHour     By = "hour"   // 100 days back
	ByMinute   By = "minute" // three days back
)

// layouts are how the starts of spans are written as keys.
var layouts = map[By]string{
	ByMonth: "2006-01", ByDay: time.DateOnly, ByHour: "2006-01-02T15:00Z", ByMinute: "2006-01-02T15:04Z",
}

// Query selects what usage is made of by the start of the invocation. Since and
// Until are rounded down: to a minute, to an hour if they are over three days
// back, to a day if they are over 100 days back.
type Query struct {
	By       By        // "" is ByFunction
	Tag      string    // with ByTag: the key whose values are the groups; "" means each tag, so that lines overlap
	Function string    // "" means all
	Alias    string    // "" means all
	Since    time.Time // inclusive; zero means from the beginning
	Until    time.Time // exclusive; zero means to the end
}

// Usage is what the records of one group add up to. Quantities are whole
// numbers of small units, so that sums are exact.
type Usage struct {
	Key          string        `json:"key"` // as Query.By has it; "" for a total, and for what has no such tag
	Requests     int64         `json:"requests"`
	Errors       int64         `json:"errors"` // outcomes other than ok
	ColdStarts   int64         `json:"coldStarts"`
	Duration     time.Duration `json:"durationNs"`
	Billed       time.Duration `json:"billedNs"`
	MBMillis     int64         `json:"mbMillis"`            // memory x billed time
	TmpMBMillis  int64         `json:"storageMBMillis"`     // charged storage x billed time
	KeptMBMillis int64         `json:"provisionedMBMillis"` // memory x time that it was kept ready
	GBSeconds    string        `json:"gbSeconds"`           // MBMillis as a decimal number, six places
	RequestCost  Money         `json:"requestCost"`
	DurationCost Money         `json:"durationCost"`
	StorageCost  Money         `json:"storageCost"`
	KeptCost     Money         `json:"provisionedCost"`
	Cost         Money         `json:"cost"`

	keptRun int64 // of MBMillis, what ran on memory that was kept ready
}

// Bill is usage with its price.
type Bill struct {
	By     By         `json:"by"`
	Prices PriceSheet `json:"prices"`
	Lines  []Usage    `json:"lines"` // sorted by Key
	Total  Usage      `json:"total"` // priced from the summed quantities, so rounding shows at most once

	// AlwaysOn is what servers would have cost that hold each function's memory
	// once, from the span (a day, mostly) of its first use to the end.
	AlwaysOn Money `json:"alwaysOnCost"`
}

const mbMillisPerGBSecond = 1024 * 1000

// add counts what has one key.
func (u *Usage) add(k *rowKey, s *sums, p *PriceSheet) {
	ms := int64(s.Billed / time.Millisecond)
	if k.Idle {
		u.KeptMBMillis += int64(k.MemoryMB) * ms
		return
	}
	u.Requests += s.Requests
	u.Errors += s.Errors
	u.ColdStarts += s.Colds
	u.Duration += s.Duration
	u.Billed += s.Billed
	u.MBMillis += int64(k.MemoryMB) * ms
	if k.Kept {
		u.keptRun += int64(k.MemoryMB) * ms
	}
	u.TmpMBMillis += int64(max(k.TmpMB-p.FreeStorageMB, 0)) * ms
}

func (u *Usage) price(p *PriceSheet) {
	micro := u.MBMillis / mbMillisPerGBSecond * 1e6
	micro += (u.MBMillis%mbMillisPerGBSecond*1e6 + mbMillisPerGBSecond/2) / mbMillisPerGBSecond
	u.GBSeconds = fmt.Sprintf("%d.%06d", micro/1e6, micro%1e6)
	u.RequestCost = p.MillionCalls.times(u.Requests, 1e6)
	u.DurationCost = p.GBSecond.times(u.MBMillis-u.keptRun, mbMillisPerGBSecond).
		plus(cmp.Or(p.KeptRunSecond, p.GBSecond).times(u.keptRun, mbMillisPerGBSecond))
	u.StorageCost = p.StorageSecond.times(u.TmpMBMillis, mbMillisPerGBSecond)
	u.KeptCost = p.KeptGBSecond.times(u.KeptMBMillis, mbMillisPerGBSecond)
	u.Cost = u.RequestCost.plus(u.DurationCost).plus(u.StorageCost).plus(u.KeptCost)
}

// Cost returns what one record costs. Rounded by itself, it may differ from its
// part of a bill by a picodollar.
func (p *PriceSheet) Cost(r *Record) Money {
	var u Usage
	var s sums
	s.count(r)
	u.add(&rowKey{MemoryMB: r.MemoryMB, TmpMB: r.TmpMB, Kept: r.Kept}, &s, p)
	u.price(p)
	return u.Cost
}

// Bill adds up the records that q selects, at the prices of p. Records that
// were added before the call count.
func (l *Ledger) Bill(ctx context.Context, q Query, p PriceSheet) (Bill, error) {
	q.By = cmp.Or(q.By, ByFunction)
	coarsest, ok := map[By]int{
		ByFunction: byDay, ByVersion: byDay, ByAlias: byDay, ByTag: byDay, ByMonth: byDay, ByDay: byDay, ByHour: byHour, ByMinute: byMinute,
	}[q.By]
	if !ok {
		return Bill{}, errs.Newf(errs.Invalid, "usage can't be added up by %q: use function, version, alias, tag, month, day, hour or minute", q.By)
	}
	if err := l.settle(ctx); err != nil {
		return Bill{}, err
	}
	now := time.Now()
	a := adder{q: q, prices: &p, groups: map[string]*Usage{}, servers: map[string]*server{}}
	err := l.db.View(func(tx *bbolt.Tx) (err error) {
		if a.tags, err = readTags(tx); err != nil {
			return err
		}
		for _, sp := range cover(q.Since, q.Until, now, coarsest) {
			if err := eachRow(tx, sp, a.row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Bill{}, fmt.Errorf("read the ledger: %w", err)
	}
	return a.bill(now), nil
}

// adder adds rows up to a bill.
type adder struct {
	q       Query
	prices  *PriceSheet
	tags    map[uint64]map[string]string
	groups  map[string]*Usage
	total   Usage
	servers map[string]*server // by function
}

// server is what would have to be always on for a function.
type server struct {
	memoryMB int
	since    time.Time
}

func (a *adder) row(start time.Time, k rowKey, s sums) {
	if scope := (Scope{Function: a.q.Function, Alias: a.q.Alias}); !scope.Selects(k.Function, k.Alias, nil) {
		return
	}
	a.total.add(&k, &s, a.prices)
	for _, key := range a.keys(start, &k) {
		if a.groups[key] == nil {
			a.groups[key] = &Usage{Key: key}
		}
		a.groups[key].add(&k, &s, a.prices)
	}
	sv := a.servers[k.Function]
	if sv == nil {
		sv = &server{since: start}
		a.servers[k.Function] = sv
	}
	sv.memoryMB = max(sv.memoryMB, k.MemoryMB)
	if start.Before(sv.since) {
		sv.since = start
	}
}

// keys returns the groups that a row counts in.
func (a *adder) keys(start time.Time, k *rowKey) []string {
	switch a.q.By {
	case ByFunction:
		return []string{k.Function}
	case ByVersion:
		return []string{k.Function + ":" + k.Version}
	case ByAlias:
		if k.Alias == "" {
			return []string{k.Function}
		}
		return []string{k.Function + ":" + k.Alias}
	case ByTag:
		if a.q.Tag != "" {
			return []string{a.tags[k.Tags][a.q.Tag]}
		}
		var keys []string
		for name, value := range a.tags[k.Tags] {
			keys = append(keys, name+"="+value)
		}
		if keys == nil {
			return []string{""}
		}
		return keys
	default:
		return []string{start.Format(layouts[a.q.By])}
	}
}

func (a *adder) bill(now time.Time) Bill {
	b := Bill{By: a.q.By, Prices: *a.prices, Lines: []Usage{}, Total: a.total}
	for _, u := range a.groups {
		u.price(a.prices)
		b.Lines = append(b.Lines, *u)
	}
	slices.SortFunc(b.Lines, func(x, y Usage) int { return cmp.Compare(x.Key, y.Key) })
	b.Total.price(a.prices)
	end := now
	if !a.q.Until.IsZero() && a.q.Until.Before(now) {
		end = a.q.Until
	}
	for _, sv := range a.servers {
		minutes := max(int64(end.Sub(sv.since)/time.Minute), 1)
		b.AlwaysOn = b.AlwaysOn.plus(a.prices.ServerGBHour.times(int64(sv.memoryMB)*minutes, 1024*60))
	}
	return b
}

package meter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// grain is a span of time over which the ledger keeps sums. Every record counts
// in one span of each grain.
type grain struct {
	bucket string
	every  time.Duration
	keep   time.Duration // how long spans are kept; 0 means for ever
}

// The grains, finest first. Each one's spans are made of whole spans of the one
// before, and days are those of UTC.
var grains = [...]grain{
	{"minutes", time.Minute, 3 * 24 * time.Hour},
	{"hours", time.Hour, 100 * 24 * time.Hour},
	{"days", 24 * time.Hour, 0},
}

const (
	byMinute = iota
	byHour
	byDay
)

// floor returns the start of t's span. The zero Time's is before all others.
func (g *grain) floor(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Truncate(g.every)
}

// rowKey is what a sum is kept apart by, besides its span: all that a price or
// a question can depend on.
type rowKey struct {
	Function string
	Version  string
	Alias    string
	MemoryMB int
	TmpMB    int
	Kept     bool   // ran on provisioned concurrency
	Idle     bool   // is that concurrency itself, ready and paid for
	Tags     uint64 // id of the function's tags at the time
}

// sums are what records with one rowKey add up to in one span.
type sums struct {
	Requests, Errors, Colds int64
	Duration                time.Duration
	Billed                  time.Duration // whole milliseconds
}

func (s *sums) count(r *Record) {
	s.Requests++
	if r.Outcome != OK {
		s.Errors++
	}
	if r.Init > 0 {
		s.Colds++
	}
	s.Duration += r.Duration
	s.Billed += r.Billed
}

func (s *sums) add(o sums) {
	s.Requests += o.Requests
	s.Errors += o.Errors
	s.Colds += o.Colds
	s.Duration += o.Duration
	s.Billed += o.Billed
}

const (
	flagKept = 1 << iota
	flagIdle
)

// timeKeyLen is the length of the span's start that begins each key, so that
// keys are in the order of time.
const timeKeyLen = 8

func timeKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.UnixNano(), 0)))
}

func (k *rowKey) encode(start time.Time) []byte {
	b := timeKey(start)
	for _, s := range []string{k.Function, k.Version, k.Alias} {
		b = append(append(b, s...), 0)
	}
	var flags uint64
	if k.Kept {
		flags |= flagKept
	}
	if k.Idle {
		flags |= flagIdle
	}
	for _, n := range []uint64{uint64(k.MemoryMB), uint64(k.TmpMB), flags, k.Tags} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func decodeRowKey(b []byte) (start time.Time, k rowKey, err error) {
	bad := fmt.Errorf("the ledger's key %x is damaged", b)
	if len(b) < timeKeyLen {
		return start, k, bad
	}
	start = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
	b = b[timeKeyLen:]
	for _, to := range []*string{&k.Function, &k.Version, &k.Alias} {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			return start, k, bad
		}
		*to, b = string(b[:end]), b[end+1:]
	}
	var numbers [4]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return start, k, bad
		}
		numbers[i], b = n, b[size:]
	}
	k.MemoryMB, k.TmpMB, k.Tags = int(numbers[0]), int(numbers[1]), numbers[3]
	k.Kept, k.Idle = numbers[2]&flagKept != 0, numbers[2]&flagIdle != 0
	return start, k, nil
}

func (s *sums) encode() []byte {
	var b []byte
	for _, n := range []int64{s.Requests, s.Errors, s.Colds, int64(s.Duration), int64(s.Billed / time.Millisecond)} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func decodeSums(b []byte) (s sums, err error) {
	var numbers [5]int64
	for i := range numbers {
		n, size := binary.Varint(b)
		if size <= 0 {
			return s, fmt.Errorf("a sum of the ledger is damaged")
		}
		numbers[i], b = n, b[size:]
	}
	return sums{
		Requests: numbers[0], Errors: numbers[1], Colds: numbers[2],
		Duration: time.Duration(numbers[3]), Billed: time.Duration(numbers[4]) * time.Millisecond,
	}, nil
}

// minuteKey is where a record counts, in the finest grain.
type minuteKey struct {
	rowKey
	start int64 // Unix seconds
}

// addSums adds what records of single minutes add up to, in all grains.
func addSums(tx *bbolt.Tx, add map[minuteKey]*sums) error {
	for i := range grains {
		g := &grains[i]
		coarse := make(map[minuteKey]sums, len(add))
		for k, s := range add {
			k.start = time.Unix(k.start, 0).Truncate(g.every).Unix()
			sum := coarse[k]
			sum.add(*s)
			coarse[k] = sum
		}
		bucket := tx.Bucket([]byte(g.bucket))
		for k, s := range coarse {
			key := k.encode(time.Unix(k.start, 0))
			if old := bucket.Get(key); old != nil {
				was, err := decodeSums(old)
				if err != nil {
					return err
				}
				s.add(was)
			}
			if err := bucket.Put(key, s.encode()); err != nil {
				return err
			}
		}
	}
	return nil
}

// trimSums removes spans that ended before their grain's time.
func trimSums(tx *bbolt.Tx, now time.Time) error {
	for i := range grains {
		g := &grains[i]
		if g.keep == 0 {
			continue
		}
		end := timeKey(now.Add(-g.keep))
		c := tx.Bucket([]byte(g.bucket)).Cursor()
		for k, _ := c.First(); k != nil && bytes.Compare(k, end) < 0; k, _ = c.First() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// span is a stretch of time in one grain; a zero to has no end.
type span struct {
	grain    int
	from, to time.Time
}

// cover splits a stretch of time into the coarsest spans that are not coarser
// than most and still kept: whole days in days, and so on. from and to are rounded
// down to minutes, or to the finest grain that is kept so far back.
func cover(from, to, now time.Time, most int) []span {
	finest := func(t time.Time) int {
		for i := byMinute; i < most; i++ {
			if !t.IsZero() && t.After(now.Add(-grains[i].keep+grains[i].every)) {
				return i
			}
		}
		return most
	}
	from = grains[finest(from)].floor(from)
	if !to.IsZero() {
		to = grains[finest(to)].floor(to)
	}
	var spans []span
	for at := from; to.IsZero() || at.Before(to); {
		g := most
		for ; g > byMinute; g-- { // the coarsest that begins here and ends in time
			fits := to.IsZero() || !at.Add(grains[g].every).After(to)
			if at.IsZero() || grains[g].floor(at).Equal(at) && fits {
				break
			}
		}
		end := to
		switch {
		case g < most: // up to where the next coarser one can begin
			end = grains[g+1].floor(at).Add(grains[g+1].every)
			if !to.IsZero() && end.After(to) {
				end = grains[g].floor(to)
			}
		case !to.IsZero():
			end = grains[g].floor(to)
		}
		spans = append(spans, span{g, at, end})
		if end.IsZero() {
			break
		}
		at = end
	}
	return spans
}

// eachRow calls fn with each sum whose span begins in sp.
func eachRow(tx *bbolt.Tx, sp span, fn func(start time.Time, k rowKey, s sums)) error {
	c := tx.Bucket([]byte(grains[sp.grain].bucket)).Cursor()
	from := timeKey(time.Unix(0, 0))
	if !sp.from.IsZero() {
		from = timeKey(sp.from)
	}
	var to []byte
	if !sp.to.IsZero() {
		to = timeKey(sp.to)
	}
	for k, v := c.Seek(from); k != nil && (to == nil || bytes.Compare(k, to) < 0); k, v = c.Next() {
		start, key, err := decodeRowKey(k)
		if err != nil {
			return err
		}
		s, err := decodeSums(v)
		if err != nil {
			return err
		}
		fn(start, key, s)
	}
	return nil
}

// clean makes a name fit for a row's key.
func clean(name string) string { return strings.ReplaceAll(name, "\x00", "") }

// Package replay keeps the events and answers of calls, for the functions whose
// owners ask for it, and runs a kept event again.
//
// Keeping never stands in the path of a call: bodies are handed over in memory
// and written in the background, those of half a second together; a question has
// them written at once. What comes faster than the disk takes it is dropped and
// counted.
package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/bbolt"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// Recording is a kept call. Bodies that are no JSON are kept as JSON strings.
type Recording struct {
	RequestID string          `json:"requestId"`
	Function  string          `json:"function"`
	Version   string          `json:"version"`
	Attempt   int             `json:"attempt,omitempty"`
	Time      time.Time       `json:"time"`
	Duration  time.Duration   `json:"durationNs"`
	Failed    bool            `json:"failed"`
	Redacted  bool            `json:"redacted,omitempty"` // the event or the answer lost something to a rule
	Event     json.RawMessage `json:"event"`
	Answer    json.RawMessage `json:"answer"`
	Context   string          `json:"clientContext,omitempty"`
}

// Replayed is a kept call beside its repetition.
type Replayed struct {
	Before Recording `json:"before"`
	After  Recording `json:"after"`
	Same   bool      `json:"same"` // both answers are the same JSON
}

// Invoker runs calls.
type Invoker interface {
	Sync(ctx context.Context, r invoke.Request) (invoke.Result, error)
}

// Config is what a Store is made of. Path and Log are required.
type Config struct {
	Path     string        // of the file that it keeps
	KeepFor  time.Duration // 0 means 14 days
	MaxBytes int64         // of all recordings together, oldest go first; 0 means 256 MiB
	Log      *slog.Logger
}

const (
	defaultKeepFor  = 14 * 24 * time.Hour
	defaultMaxBytes = 256 << 20
	maxWaiting      = 32 << 20 // bytes that may wait to be written
	fixedWaiting    = 1 << 10  // bytes of a call that waits, without its bodies
	gatherFor       = 500 * time.Millisecond
	trimEvery       = time.Minute
)

// Store keeps recordings and the settings by which they are made. It is safe for
// concurrent use. Run must be running for recordings to be written.
type Store struct {
	cfg Config
	db  *bbolt.DB

	settings sync.Map      // function -> *Settings
	come     chan struct{} // holds a token when there is something to write
	much     chan struct{} // holds a token when that should not wait for more

	writing sync.Mutex // held while recordings are written, in their order

	mu      sync.Mutex
	waiting []waiting // guarded by mu
	bytes   int64     // guarded by mu: of waiting
	dropped int64     // guarded by mu: since the last note in the log
}

// waiting is a call that is to be kept.
type waiting struct {
	settings *Settings
	request  invoke.Request
	result   invoke.Result
}

var (
	settingsBucket = []byte("settings")
	callsBucket    = []byte("calls") // request id -> recording
	timesBucket    = []byte("times") // time and request id -> size, for trimming
)

// Open opens the store in cfg.Path, which is made if need be.
func Open(cfg Config) (*Store, error) {
	if cfg.KeepFor == 0 {
		cfg.KeepFor = defaultKeepFor
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	db, err := bbolt.Open(cfg.Path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open recordings %s: %w", cfg.Path, err)
	}
	s := &Store{cfg: cfg, db: db, come: make(chan struct{}, 1), much: make(chan struct{}, 1)}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{settingsBucket, callsBucket, timesBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(settingsBucket).ForEach(func(k, v []byte) error {
			set := new(Settings)
			if err := json.Unmarshal(v, set); err != nil {
				return fmt.Errorf("settings of %s: %w", k, err)
			}
			s.settings.Store(string(k), set.compile())
			return nil
		})
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open recordings %s: %w", cfg.Path, err)
	}
	return s, nil
}

// Close closes the file. Run must have ended.
func (s *Store) Close() error { return s.db.Close() }

// Record takes a finished call, if its function's settings ask for it.
func (s *Store) Record(r invoke.Request, res invoke.Result) {
	v, ok := s.settings.Load(r.Function)
	if !ok {
		return
	}
	set := v.(*Settings)
	failed := res.Record.Outcome != meter.OK
	if !failed && set.Mode == Failed || set.Mode == Sampled && rand.Float64() >= set.Rate {
		return
	}
	size := int64(fixedWaiting + len(r.Payload) + len(res.Payload))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+size > maxWaiting {
		s.dropped++
		return
	}
	s.bytes += size
	s.waiting = append(s.waiting, waiting{set, r, res})
	if len(s.waiting) == 1 {
		signal(s.come)
	}
	if s.bytes > maxWaiting/2 {
		signal(s.much)
	}
}

// signal leaves a token for who waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes recordings until ctx ends, and then what is left.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-s.come:
			s.gather(ctx)
			err = s.write()
		case <-tick.C:
			err = s.trim(time.Now())
			s.tellDropped()
		case <-ctx.Done():
			return s.write()
		}
		if err != nil {
			s.cfg.Log.Error("recordings could not be kept", "err", err)
		}
	}
}

// gather waits for more to be written together: a transaction costs as much as
// many calls in it.
func (s *Store) gather(ctx context.Context) {
	t := time.NewTimer(gatherFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.much:
	case <-ctx.Done():
	}
}

func (s *Store) tellDropped() {
	s.mu.Lock()
	n := s.dropped
	s.dropped = 0
	s.mu.Unlock()
	if n > 0 {
		s.cfg.Log.Warn("calls came faster than they could be recorded", "dropped", n)
	}
}

// write keeps all that waits, in one transaction, and returns when also what others
// are writing is kept.
func (s *Store) write() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	now := s.waiting
	s.waiting, s.bytes = nil, 0
	s.mu.Unlock()
	if len(now) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range now {
			if err := put(tx, w.recording()); err != nil {
				return err
			}
		}
		return nil
	})
}

func put(tx *bbolt.Tx, r Recording) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the recording of %s: %w", r.RequestID, err)
	}
	if err := tx.Bucket(callsBucket).Put([]byte(r.RequestID), b); err != nil {
		return err
	}
	return tx.Bucket(timesBucket).Put(timeKey(r), fmt.Append(nil, len(b)))
}

func timeKey(r Recording) []byte {
	return append([]byte(r.Time.UTC().Format("20060102T150405.000000000")), r.RequestID...)
}

// recording makes what is kept of a call: its bodies without what the rules hide.
func (w waiting) recording() Recording {
	rec := w.result.Record
	r := Recording{
		RequestID: w.request.RequestID, Function: w.request.Function, Version: w.result.Version, Attempt: rec.Attempt,
		Time: rec.Start, Duration: rec.Duration, Failed: rec.Outcome != meter.OK, Context: w.request.ClientContext,
	}
	var hidEvent, hidAnswer bool
	r.Event, hidEvent = w.settings.redact(w.request.Payload)
	r.Answer, hidAnswer = w.settings.redact(w.result.Payload)
	r.Redacted = hidEvent || hidAnswer
	return r
}

// Get returns the recording of a call, or errs.NotFound.
func (s *Store) Get(requestID string) (r Recording, err error) {
	if err := s.write(); err != nil {
		return r, fmt.Errorf("keep the latest recordings: %w", err)
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(callsBucket).Get([]byte(requestID))
		if b == nil {
			return errs.Newf(errs.NotFound, "the call %s was not recorded: `mayfly record FUNCTION --failed` keeps failed calls from now on", requestID)
		}
		return json.Unmarshal(b, &r)
	})
	return r, err
}

// List returns the latest recordings of a function, or of all for "", newest
// first and without their bodies.
func (s *Store) List(function string, most int) (list []Recording, err error) {
	if err := s.write(); err != nil {
		return nil, fmt.Errorf("keep the latest recordings: %w", err)
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(timesBucket).Cursor()
		for k, _ := c.Last(); k != nil && len(list) < most; k, _ = c.Prev() {
			var r Recording
			b := tx.Bucket(callsBucket).Get(k[len("20060102T150405.000000000"):])
			if b == nil {
				continue // recorded again later
			}
			if err := json.Unmarshal(b, &r); err != nil {
				return err
			}
			if function == "" || r.Function == function {
				r.Event, r.Answer = nil, nil
				list = append(list, r)
			}
		}
		return nil
	})
	return list, err
}

// trim removes what is too old, and the oldest while all are too large together.
func (s *Store) trim(now time.Time) error {
	oldest := now.Add(-s.cfg.KeepFor).UTC().Format("20060102T150405.000000000")
	return s.db.Update(func(tx *bbolt.Tx) error {
		times, calls := tx.Bucket(timesBucket), tx.Bucket(callsBucket)
		var total int64
		size := func(v []byte) (n int64) { fmt.Sscan(string(v), &n); return n }
		if err := times.ForEach(func(_, v []byte) error { total += size(v); return nil }); err != nil {
			return err
		}
		c := times.Cursor()
		for k, v := c.First(); k != nil && (string(k) < oldest || total > s.cfg.MaxBytes); k, v = c.First() {
			total -= size(v)
			if err := calls.Delete(k[len(oldest):]); err != nil {
				return err
			}
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Replay runs a kept event again, on a version or alias; "" means the latest. The
// repetition is a call as any other: logged, metered, and recorded if the
// settings say so.
func (s *Store) Replay(ctx context.Context, by Invoker, requestID, qualifier string) (Replayed, error) {
	before, err := s.Get(requestID)
	if err != nil {
		return Replayed{}, err
	}
	began := time.Now()
	r := invoke.Request{
		RequestID: uuid.NewString(), Function: before.Function, Qualifier: qualifier,
		Payload: before.Event, ClientContext: before.Context,
	}
	res, err := by.Sync(ctx, r)
	if err != nil {
		return Replayed{}, err
	}
	after := Recording{
		RequestID: r.RequestID, Function: r.Function, Version: res.Version, Time: began, Duration: res.Record.Duration,
		Failed: res.FunctionError != "", Event: before.Event, Answer: asJSON(res.Payload),
	}
	return Replayed{Before: before, After: after, Same: Same(before.Answer, after.Answer)}, nil
}

package meter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	enterEvery  = time.Second      // how long a durable batch waits until it is entered
	maxQueued   = 64 * maxBatch    // records that wait in memory; more are read from the journal
	enterAtOnce = 16 * maxBatch    // records entered in one transaction
	tidyEvery   = 10 * time.Minute // old records and old spans are removed so often
)

// Config is what a Ledger is made of. Path, Journal and Log are required.
type Config struct {
	Path    string // of the ledger's file, made if it is missing
	Journal Journal
	Log     *slog.Logger

	// Tags returns a function's tags; nil means that there are none. It is asked
	// when a record is entered, within a second of its call.
	Tags func(function string) map[string]string
	// Entered is told of records once they are durable, in batches, from one
	// goroutine at a time. It must not block and not keep the slice. May be nil.
	Entered func([]Record)

	KeepFor    time.Duration // records older than this are removed; 0 means 30 days
	MaxRecords int           // more records than this are removed, oldest first; 0 means 2 million
}

// Ledger keeps records where they can be found, and what they add up to. It is
// a Recorder: what is added to it is in the journal within 0.1 s and in the
// ledger within a further second, and every question waits for that first. It is
// safe for concurrent use.
type Ledger struct {
	*Recorder
	cfg Config
	db  *bbolt.DB

	entering sync.Mutex // held while records are entered; guards what follows
	applied  uint64     // number of the last batch that was entered
	open     block      // the last block, which takes more records
	met      seen       // keys of the latest records
	tagIDs   map[string]uint64

	mu     sync.Mutex
	queue  []landing     // guarded by mu; durable, not yet entered
	queued int           // guarded by mu; records in queue
	behind bool          // guarded by mu; the journal holds batches that are not in queue
	kept   []kept        // guarded by mu; provisioned concurrency not yet entered
	wake   chan struct{} // holds a token when there is something to enter
}

// landing is a batch that the journal has.
type landing struct {
	number  uint64
	records []Record
	data    []byte
}

// kept is memory that was kept ready for a function.
type kept struct {
	key   rowKey
	start time.Time
	took  time.Duration
}

var (
	metaBucket = []byte("meta")
	tagsBucket = []byte("tags")
	appliedKey = []byte("applied")
)

// Open opens the ledger, and enters what the journal holds that is new to it.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	cfg.KeepFor = cmp.Or(cfg.KeepFor, 30*24*time.Hour)
	cfg.MaxRecords = cmp.Or(cfg.MaxRecords, 2_000_000)
	db, err := openFile(cfg.Path, cfg.Log)
	if err != nil {
		return nil, err
	}
	l := &Ledger{Recorder: NewRecorder(cfg.Journal, cfg.Log), cfg: cfg, db: db, wake: make(chan struct{}, 1)}
	l.Recorder.landed = l.landed
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func (l *Ledger) prepare(ctx context.Context) error {
	err := l.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range bucketNames() {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the ledger: %w", err)
	}
	if err := l.load(); err != nil {
		return err
	}
	last, err := l.cfg.Journal.Last(ctx)
	if err != nil {
		return err
	}
	if last < l.applied {
		l.cfg.Log.Warn("the ledger is ahead of its journal, which is a new one or has lost its end; what the ledger holds is kept", "ledger", l.applied, "journal", last)
		if err := l.goBack(last); err != nil {
			return err
		}
	}
	l.behind = true
	return l.enter(ctx)
}

// goBack notes that the journal gives numbers after last again, to batches that
// are yet to come.
func (l *Ledger) goBack(last uint64) error {
	l.applied = last
	err := l.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(appliedKey, binary.BigEndian.AppendUint64(nil, last))
	})
	if err != nil {
		return fmt.Errorf("prepare the ledger: %w", err)
	}
	return nil
}

// bucketNames are those of the file's buckets.
func bucketNames() [][]byte {
	names := [][]byte{metaBucket, tagsBucket, blocksBucket, indexBucket}
	for i := range grains {
		names = append(names, []byte(grains[i].bucket))
	}
	return names
}

// load reads into memory what entering needs: it is called at the start, and
// after a transaction that failed.
func (l *Ledger) load() error {
	l.open, l.met, l.tagIDs = block{number: 1}, seen{}, map[string]uint64{}
	err := l.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(metaBucket).Get(appliedKey); v != nil {
			l.applied = binary.BigEndian.Uint64(v)
		}
		err := tx.Bucket(tagsBucket).ForEach(func(k, v []byte) error {
			l.tagIDs[string(v)] = binary.BigEndian.Uint64(k)
			return nil
		})
		if err != nil {
			return err
		}
		return l.loadBlocks(tx)
	})
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// loadBlocks takes up the last block, and the keys of the last few: a record
// that comes twice does so within a batch.
func (l *Ledger) loadBlocks(tx *bbolt.Tx) error {
	var recent [][]byte
	err := newestFirst(tx, func(key []byte, x *index) (bool, error) {
		lines, err := getLines(tx, key)
		if err != nil {
			return false, err
		}
		if len(recent) == 0 {
			l.open = block{number: binary.BigEndian.Uint64(key), lines: lines, index: *x}
			l.open.functions, l.open.ids = bytes.Clone(x.functions), bytes.Clone(x.ids)
			if x.records >= blockSize {
				l.open = block{number: l.open.number + 1}
			}
		}
		recent = append(recent, lines)
		return len(recent)*blockSize < 4*maxBatch, nil
	})
	if err != nil {
		return err
	}
	for _, lines := range slices.Backward(recent) {
		records, err := decodeBatch(lines)
		if err != nil {
			return err
		}
		for i := range records {
			l.met.first(records[i].key())
		}
	}
	return nil
}

// Close closes the file. Run must have returned, or never been called.
func (l *Ledger) Close() error { return l.db.Close() }

// Run makes records durable and enters them until ctx ends, then what is left.
func (l *Ledger) Run(ctx context.Context) error {
	recorded := make(chan error, 1)
	go func() { recorded <- l.Recorder.Run(ctx) }()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	failing := false
	for {
		select {
		case err := <-recorded:
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			return errors.Join(err, l.enter(last))
		case <-tidy.C:
			if err := l.tidy(ctx); err != nil && ctx.Err() == nil {
				l.cfg.Log.Warn("old records could not be removed from the ledger", "err", err)
			}
		case <-l.wake:
			pause(ctx, enterEvery, nil)
			err := l.enter(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				l.cfg.Log.Error("records can't be entered in the ledger; they stay in the journal", "err", err)
			}
			if failing = err != nil; failing {
				l.rouse()
			}
		}
	}
}

func (l *Ledger) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// landed takes a batch that has just become durable.
func (l *Ledger) landed(number uint64, records []Record, data []byte) {
	l.mu.Lock()
	if l.queued+len(records) > maxQueued {
		l.queue, l.queued, l.behind = nil, 0, true
	}
	if !l.behind {
		l.queue = append(l.queue, landing{number, records, data})
		l.queued += len(records)
	}
	l.mu.Unlock()
	if l.cfg.Entered != nil {
		l.cfg.Entered(records)
	}
	l.rouse()
}

// Keep adds memory that was kept ready for a function's calls: provisioned
// concurrency of one version. It is entered with the next records.
func (l *Ledger) Keep(function, version, alias string, memoryMB int, start time.Time, took time.Duration) {
	key := rowKey{Function: clean(function), Version: clean(version), Alias: clean(alias), MemoryMB: memoryMB, Idle: true}
	l.mu.Lock()
	l.kept = append(l.kept, kept{key, start, took})
	l.mu.Unlock()
	l.rouse()
}

// settle enters all records that were added before the call.
func (l *Ledger) settle(ctx context.Context) error {
	if err := l.Flush(ctx); err != nil {
		return errs.Newf(errs.Unavailable, "the latest records can't be written: %w", err)
	}
	return l.enter(ctx)
}

// enter brings the ledger up to the journal.
func (l *Ledger) enter(ctx context.Context) error {
	l.entering.Lock()
	defer l.entering.Unlock()
	l.mu.Lock()
	queue, behind, ready := l.queue, l.behind, l.kept
	l.queue, l.queued, l.behind, l.kept = nil, 0, false, nil
	l.mu.Unlock()
	if len(queue) == 0 && !behind && len(ready) == 0 {
		return nil
	}
	err := l.commit(queue, ready)
	if err == nil {
		ready = nil
		if behind {
			err = l.catchUp(ctx)
		}
	}
	if err == nil {
		return nil
	}
	l.mu.Lock()
	l.queue, l.queued, l.behind = nil, 0, true // from the journal then
	l.kept = append(ready, l.kept...)
	l.mu.Unlock()
	return errors.Join(err, l.load())
}

// catchUp enters what the journal holds after the last batch that was entered.
func (l *Ledger) catchUp(ctx context.Context) error {
	var some []landing
	records, next := 0, l.applied+1
	err := l.cfg.Journal.Read(ctx, l.applied, func(number uint64, batch []byte) error {
		if number > next {
			l.cfg.Log.Error("batches of records are missing in the meter's journal and in the ledger", "from", next, "before", number)
		}
		next = number + 1
		list, err := decodeBatch(batch)
		if err != nil {
			return err
		}
		some = append(some, landing{number, list, bytes.Clone(batch)})
		if records += len(list); records < enterAtOnce {
			return nil
		}
		err = l.commit(some, nil)
		some, records = nil, 0
		return err
	})
	if err != nil {
		return fmt.Errorf("read the meter's journal: %w", err)
	}
	return l.commit(some, nil)
}

// commit enters batches in one transaction.
func (l *Ledger) commit(batches []landing, ready []kept) error {
	if len(batches) == 0 && len(ready) == 0 {
		return nil
	}
	add := map[minuteKey]*sums{}
	err := l.db.Update(func(tx *bbolt.Tx) error {
		tags := map[string]uint64{}
		for _, b := range batches {
			if b.number <= l.applied {
				continue
			}
			if err := l.enterBatch(tx, b, tags, add); err != nil {
				return err
			}
			l.applied = b.number
		}
		for _, k := range ready {
			if err := l.enterKept(tx, k, tags, add); err != nil {
				return err
			}
		}
		if err := l.open.put(tx); err != nil {
			return err
		}
		if err := addSums(tx, add); err != nil {
			return err
		}
		return tx.Bucket(metaBucket).Put(appliedKey, binary.BigEndian.AppendUint64(nil, l.applied))
	})
	if err != nil {
		return fmt.Errorf("enter records in the ledger: %w", err)
	}
	return nil
}

func (l *Ledger) enterBatch(tx *bbolt.Tx, b landing, tags map[string]uint64, add map[minuteKey]*sums) error {
	i := 0
	for line := range bytes.Lines(b.data) {
		r := &b.records[i]
		i++
		if !l.met.first(r.key()) {
			continue
		}
		id, err := l.tagsOf(tx, r.Function, tags)
		if err != nil {
			return err
		}
		k := minuteKey{start: r.Start.Truncate(time.Minute).Unix(), rowKey: rowKey{
			Function: clean(r.Function), Version: clean(r.Version), Alias: clean(r.Alias),
			MemoryMB: r.MemoryMB, TmpMB: r.TmpMB, Kept: r.Kept, Tags: id,
		}}
		if add[k] == nil {
			add[k] = &sums{}
		}
		add[k].count(r)
		l.open.add(r, line)
		if l.open.records < blockSize {
			continue
		}
		if err := l.open.put(tx); err != nil {
			return err
		}
		l.open = block{number: l.open.number + 1, lines: l.open.lines[:0]} // the file has a copy
	}
	return nil
}

// enterKept splits kept memory at minutes.
func (l *Ledger) enterKept(tx *bbolt.Tx, k kept, tags map[string]uint64, add map[minuteKey]*sums) error {
	id, err := l.tagsOf(tx, k.key.Function, tags)
	if err != nil {
		return err
	}
	k.key.Tags = id
	start := k.start.Truncate(time.Millisecond)
	for at, end := start, start.Add(k.took.Truncate(time.Millisecond)); at.Before(end); {
		next := at.Truncate(time.Minute).Add(time.Minute)
		if next.After(end) {
			next = end
		}
		m := minuteKey{k.key, at.Truncate(time.Minute).Unix()}
		if add[m] == nil {
			add[m] = &sums{}
		}
		add[m].Billed += next.Sub(at)
		at = next
	}
	return nil
}

// tagsOf returns the id of a function's present tags; 0 for none. known is what
// this transaction asked already.
func (l *Ledger) tagsOf(tx *bbolt.Tx, function string, known map[string]uint64) (uint64, error) {
	if id, ok := known[function]; ok || l.cfg.Tags == nil {
		return id, nil
	}
	set := l.cfg.Tags(function)
	if len(set) == 0 {
		known[function] = 0
		return 0, nil
	}
	b, err := json.Marshal(set) // keys are sorted
	if err != nil {
		return 0, err
	}
	id, ok := l.tagIDs[string(b)]
	if !ok {
		bucket := tx.Bucket(tagsBucket)
		if id, err = bucket.NextSequence(); err != nil {
			return 0, err
		}
		if err := bucket.Put(binary.BigEndian.AppendUint64(nil, id), b); err != nil {
			return 0, err
		}
		l.tagIDs[string(b)] = id
	}
	known[function] = id
	return id, nil
}

// readTags returns all sets of tags by their ids.
func readTags(tx *bbolt.Tx) (map[uint64]map[string]string, error) {
	sets := map[uint64]map[string]string{}
	err := tx.Bucket(tagsBucket).ForEach(func(k, v []byte) error {
		set := map[string]string{}
		if err := json.Unmarshal(v, &set); err != nil {
			return fmt.Errorf("tags of the ledger: %w", err)
		}
		sets[binary.BigEndian.Uint64(k)] = set
		return nil
	})
	return sets, err
}

// tidy removes records that are too old or too many, spans that are no longer
// kept, and what the journal holds twice.
func (l *Ledger) tidy(ctx context.Context) error {
	l.entering.Lock()
	defer l.entering.Unlock()
	now := time.Now()
	err := l.db.Update(func(tx *bbolt.Tx) error {
		if err := l.trimBlocks(tx, now); err != nil {
			return err
		}
		return trimSums(tx, now)
	})
	if err != nil {
		return err
	}
	return l.cfg.Journal.Trim(ctx, l.applied)
}

func (l *Ledger) trimBlocks(tx *bbolt.Tx, now time.Time) error {
	blocks, indexes := tx.Bucket(blocksBucket), tx.Bucket(indexBucket)
	most := uint64(max(1, l.cfg.MaxRecords/blockSize))
	oldest := now.Add(-l.cfg.KeepFor).UnixNano()
	c := indexes.Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		number := binary.BigEndian.Uint64(k)
		x, err := decodeIndex(v)
		if err != nil {
			return err
		}
		if number >= l.open.number || number+most > l.open.number && x.last >= oldest {
			return nil
		}
		if err := blocks.Delete(k); err != nil {
			return err
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

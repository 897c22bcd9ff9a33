package meter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockPatience is how long the file may be in somebody else's hands.
const lockPatience = time.Second

// openFile opens the ledger's file, which is made if it is missing. Of a damaged
// one a copy is set aside; its last transaction is undone or, if there is more to
// it, what can be read goes to a new file. The log tells.
func openFile(path string, log *slog.Logger) (*bbolt.DB, error) {
	damage := inspect(path)
	if errors.Is(damage, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open the ledger %s: %w", path, damage)
	}
	aside := ""
	if damage != nil {
		aside = fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000000000"))
		log.Error("the ledger is damaged; a copy is set aside", "damage", damage, "damagedFile", aside)
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("set the damaged ledger aside: %w", err)
		}
	}
	undone := false
	if damage != nil {
		err := undoLast(aside, path)
		if err == nil {
			err = inspect(path)
		}
		if undone = err == nil; !undone {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("remove what is left of the ledger: %w", err)
			}
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockPatience, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	switch {
	case undone:
		log.Warn("the ledger's last transaction is undone; its records are entered again from the journal")
	case damage != nil:
		kept, err := rescue(db, aside)
		log.Error("what could be read of the damaged ledger is kept, the rest is missing in bills and records", "entriesKept", kept, "err", err)
	}
	return db, nil
}

// inspect returns what is wrong with the file at path: bbolt, which maps the file
// into memory, would end the process over it. A file that is not there, or empty,
// is as good as new.
func inspect(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return guarded(func() error {
		return withFile(path, func(tx *bbolt.Tx) error {
			if tx.Size() > info.Size() {
				return fmt.Errorf("the file has %d bytes of %d", info.Size(), tx.Size())
			}
			if err := tx.ForEach(inspectBucket); err != nil || tx.Bucket(indexBucket) == nil {
				return err
			}
			return inspectTail(tx)
		})
	})
}

// inspectBucket looks at each key and, but for blocks, at each value.
func inspectBucket(name []byte, b *bbolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if last != nil && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("keys of %s are out of order", name)
		}
		last = append(last[:0], k...)
		return inspectEntry(string(name), k, v)
	})
}

func inspectEntry(bucket string, k, v []byte) (err error) {
	switch bucket {
	case string(indexBucket):
		_, err = decodeIndex(v)
	case string(metaBucket), string(blocksBucket):
	case string(tagsBucket):
		if !json.Valid(v) {
			err = errors.New("a set of tags is no JSON")
		}
	default: // sums
		if _, _, err = decodeRowKey(k); err == nil {
			_, err = decodeSums(v)
		}
	}
	return err
}

// inspectTail opens the newest blocks, which a torn write would have hit, and
// which entering goes on from.
func inspectTail(tx *bbolt.Tx) error {
	left := 8
	return newestFirst(tx, func(key []byte, x *index) (bool, error) {
		left--
		return left > 0, inspectBlock(tx, key, x)
	})
}

func inspectBlock(tx *bbolt.Tx, key []byte, x *index) error {
	lines, err := getLines(tx, key)
	if err != nil {
		return err
	}
	records, err := decodeBatch(lines)
	if err == nil && len(records) != x.records {
		err = fmt.Errorf("block %x holds %d records of %d", key, len(records), x.records)
	}
	return err
}

// rescue copies to a new ledger what can be read of a damaged one, and returns
// how many entries that were. Nothing is taken if it can't be told how much of
// the journal they stand for: that would be counted twice.
func rescue(to *bbolt.DB, damaged string) (kept int, err error) {
	err = guarded(func() error {
		return withFile(damaged, func(from *bbolt.Tx) error {
			if guarded(func() error { return inspectBucket(metaBucket, from.Bucket(metaBucket)) }) != nil || from.Bucket(metaBucket).Get(appliedKey) == nil {
				return errors.New("its number in the journal is lost")
			}
			return to.Update(func(tx *bbolt.Tx) (err error) {
				for _, name := range bucketNames() {
					b, err := tx.CreateBucketIfNotExists(name)
					if err != nil {
						return err
					}
					for _, e := range readable(from, name) {
						kept++
						if err := b.Put(e.k, e.v); err != nil {
							return err
						}
					}
				}
				return nil
			})
		})
	})
	return kept, err
}

// undoLast copies a file of bbolt's without its last transaction: of the two heads
// that such a file begins with, a page each, the older one leads to all as it was
// before.
func undoLast(from, to string) error {
	const number, sum = 64, 72 // offsets in a head: its transaction, and its checksum
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	page := os.Getpagesize()
	if len(b) < 2*page {
		return errors.New("the file has no two heads")
	}
	newest := b[:page]
	if binary.NativeEndian.Uint64(b[page+number:]) > binary.NativeEndian.Uint64(b[number:]) {
		newest = b[page:]
	}
	clear(newest[sum : sum+8])
	return os.WriteFile(to, b, 0o600)
}

type keyValue struct{ k, v []byte }

// readable returns the sound entries of a bucket, from its front and from its
// back up to where it is damaged.
func readable(tx *bbolt.Tx, bucket []byte) (all []keyValue) {
	take := func(k, v []byte) {
		err := guarded(func() error {
			v = bytes.Clone(v) // here it may turn out that there is no such page
			switch string(bucket) {
			case string(indexBucket), string(blocksBucket):
				return inspectPair(tx, k)
			}
			return inspectEntry(string(bucket), k, v)
		})
		if err == nil {
			all = append(all, keyValue{bytes.Clone(k), v})
		}
	}
	var last []byte
	whole := guarded(func() error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			last = bytes.Clone(k)
			take(k, v)
			return nil
		})
	})
	if whole == nil {
		return all
	}
	_ = guarded(func() error { // its damage is known
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Last(); k != nil && bytes.Compare(k, last) > 0; k, v = c.Prev() {
			take(k, v)
		}
		return nil
	})
	return all
}

// inspectPair looks at a block and its entry in the index, which are of no use
// without each other.
func inspectPair(tx *bbolt.Tx, key []byte) error {
	v := tx.Bucket(indexBucket).Get(key)
	if v == nil {
		return errors.New("a block without its index")
	}
	x, err := decodeIndex(v)
	if err != nil {
		return err
	}
	return inspectBlock(tx, key, &x)
}

// withFile gives fn a view of a file that nobody writes.
func withFile(path string, fn func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockPatience, ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(db.View(fn), db.Close())
}

// guarded makes an error of a panic, also of one over a page that the file lacks.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return fn()
}

package meter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/klauspost/compress/s2"
	"go.etcd.io/bbolt"
)

// blockSize is how many records are kept together. A block is compressed as a
// whole and has an entry in the index that says whether it is worth opening.
const blockSize = 512

// block is a run of records in the order in which they came.
type block struct {
	number uint64
	lines  []byte // one JSON record a line, as in a batch
	index
}

// index says what is in a block. It is searched as it is stored.
type index struct {
	first, last int64  // earliest and latest Start, Unix nanoseconds
	records     int    // how many
	functions   []byte // names of the functions that have records in it, each after its length
	ids         []byte // hashes of the request ids, four bytes each, in the order of the records
	failed      int    // how many have another outcome than ok; of an index that doesn't say, all
}

// holdsFunction reports whether a function has records in the block.
func (x *index) holdsFunction(name string) bool {
	for r := (reader{b: x.functions}); len(r.b) > 0; {
		if string(r.bytes(r.uvarint())) == name {
			return true
		}
	}
	return false
}

// mayHoldID reports whether a request id with this hash is in the block.
func (x *index) mayHoldID(hash uint32) bool {
	for b := x.ids; len(b) >= 4; b = b[4:] {
		if binary.LittleEndian.Uint32(b) == hash {
			return true
		}
	}
	return false
}

func hashID(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id)) // never fails
	return h.Sum32()
}

func (b *block) add(r *Record, line []byte) {
	b.lines = append(b.lines, line...)
	start := r.Start.UnixNano()
	if b.records == 0 || start < b.first {
		b.first = start
	}
	if b.records == 0 || start > b.last {
		b.last = start
	}
	b.records++
	if !b.holdsFunction(r.Function) {
		b.functions = append(binary.AppendUvarint(b.functions, uint64(len(r.Function))), r.Function...)
	}
	b.ids = binary.LittleEndian.AppendUint32(b.ids, hashID(r.RequestID))
	if r.Outcome != OK {
		b.failed++
	}
}

func (x *index) encode() []byte {
	b := binary.AppendVarint(nil, x.first)
	b = binary.AppendVarint(b, x.last)
	b = binary.AppendUvarint(b, uint64(x.records))
	b = binary.AppendUvarint(b, uint64(len(x.functions)))
	b = append(b, x.functions...)
	b = append(b, x.ids...)
	return binary.AppendUvarint(b, uint64(x.failed))
}

// decodeIndex is the inverse of encode. What it returns shares b's memory.
func decodeIndex(b []byte) (x index, err error) {
	r := reader{b: b}
	x.first, x.last, x.records = r.varint(), r.varint(), int(r.uvarint())
	x.functions = r.bytes(r.uvarint())
	x.ids, x.failed = r.bytes(4*uint64(x.records)), x.records
	if len(r.b) > 0 { // older ones end here
		x.failed = int(r.uvarint())
	}
	if r.bad || x.records < 0 || len(r.b) > 0 {
		return x, fmt.Errorf("the ledger's index of a block is damaged")
	}
	return x, nil
}

// reader takes numbers and strings off the front of b.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	r.skip(size)
	return n
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.skip(size)
	return n
}

func (r *reader) skip(size int) {
	if size <= 0 || size > len(r.b) {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[size:]
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

var (
	blocksBucket = []byte("blocks")
	indexBucket  = []byte("index")
)

func blockKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// put writes the block as it is now.
func (b *block) put(tx *bbolt.Tx) error {
	if b.records == 0 {
		return nil
	}
	key := blockKey(b.number)
	if err := tx.Bucket(blocksBucket).Put(key, s2.Encode(nil, b.lines)); err != nil {
		return err
	}
	return tx.Bucket(indexBucket).Put(key, b.index.encode())
}

// getLines returns the records of a block as they were encoded.
func getLines(tx *bbolt.Tx, key []byte) ([]byte, error) {
	lines, err := s2.Decode(nil, tx.Bucket(blocksBucket).Get(key))
	if err != nil {
		return nil, fmt.Errorf("block %x of the ledger: %w", key, err)
	}
	return lines, nil
}

// newestFirst calls fn with each block's key and index, the newest first, until
// fn returns false.
func newestFirst(tx *bbolt.Tx, fn func(key []byte, x *index) (bool, error)) error {
	c := tx.Bucket(indexBucket).Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		x, err := decodeIndex(v)
		if err != nil {
			return err
		}
		if more, err := fn(k, &x); err != nil || !more {
			return err
		}
	}
	return nil
}

// eachBack calls fn with each record of a block whose line has all of the words,
// the last first, until fn returns false. Most of the time that a search takes is
// the decoding of records, so that it is worth to look at the line before.
func eachBack(lines []byte, words [][]byte, fn func(*Record) bool) error {
	for end := len(lines); end > 0; {
		begin := bytes.LastIndexByte(lines[:end-1], '\n') + 1
		if slices.ContainsFunc(words, func(w []byte) bool { return !bytes.Contains(lines[begin:end], w) }) {
			end = begin
			continue
		}
		var r Record
		if err := json.Unmarshal(lines[begin:end], &r); err != nil {
			return fmt.Errorf("decode record: %w", err)
		}
		if !fn(&r) {
			return nil
		}
		end = begin
	}
	return nil
}

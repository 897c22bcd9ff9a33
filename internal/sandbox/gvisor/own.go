package gvisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// A sandbox's first process knows values that are its own, such as its instance's
// name and its keys: see sandbox.Spec.Own. A copy of it would know the same, in its environment
// and wherever it has put them since. So a snapshot says where in its pages they
// are, and a copy's pages are read with its own values in their places.

// mark is where in a snapshot's pages one value of the saved sandbox is.
type mark struct {
	Size int     `json:"size"` // of the value, in bytes
	At   []int64 `json:"at"`   // offsets
}

// findMarks looks for each of own in pages. A value that lies across two pages is
// found if these follow each other.
func findMarks(pages io.Reader, own []string) ([]mark, error) {
	marks, longest := make([]mark, len(own)), 0
	var begins beginnings
	for i, v := range own {
		if len(v) < 2 {
			return nil, fmt.Errorf("value %d has %d bytes: it would be found by chance", i, len(v))
		}
		marks[i].Size = len(v)
		longest = max(longest, len(v))
		begins.add(v)
	}
	if longest == 0 {
		return marks, nil
	}
	window := make([]byte, 0, 1<<20)
	for before := int64(0); ; { // how much is before the window
		n, err := io.ReadFull(pages, window[len(window):cap(window)])
		window = window[:len(window)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return nil, err
		}
		done := len(window) // what begins after it may go on in the next window
		if !last {
			done -= longest - 1
		}
		for from := begins.next(window, 0); from < done; from = begins.next(window, from+1) {
			for i, v := range own {
				if bytes.HasPrefix(window[from:], []byte(v)) {
					marks[i].At = append(marks[i].At, before+int64(from))
				}
			}
		}
		if last {
			return marks, nil
		}
		before += int64(done)
		window = window[:copy(window, window[done:])]
	}
}

// beginnings are the first two bytes of values, for all to be looked for at once:
// a snapshot is large, and has a dozen of them.
type beginnings [1 << 16 / 64]uint64

func (b *beginnings) add(v string) {
	n := uint16(v[0]) | uint16(v[1])<<8
	b[n/64] |= 1 << (n % 64)
}

// next returns where in s, from an offset on, a value may begin; len(s) if none
// does.
func (b *beginnings) next(s []byte, from int) int {
	for i := from; i+1 < len(s); i++ {
		n := uint16(s[i]) | uint16(s[i+1])<<8
		if b[n/64]&(1<<(n%64)) != 0 {
			return i
		}
	}
	return len(s)
}

// readMarks reads the marks of a snapshot with the layout.
func readMarks(f *os.File, at layout) (marks []mark, err error) {
	err = json.NewDecoder(io.NewSectionReader(f, at.Pages+at.Kernel+at.Metadata, at.Marks)).Decode(&marks)
	return marks, err
}

// patch is a copy's own value and where in the snapshot's pages it belongs.
type patch struct {
	at    int64
	value []byte
}

// patchesOf returns where own belongs in the first n bytes of a snapshot.
func patchesOf(marks []mark, own [][]byte, n int64) (all []patch, err error) {
	if len(marks) != len(own) {
		return nil, fmt.Errorf("the snapshot has %d values of its own, its copy %d", len(marks), len(own))
	}
	for i, m := range marks {
		if m.Size != len(own[i]) {
			return nil, fmt.Errorf("value %d has %d bytes in the snapshot, %d in its copy", i, m.Size, len(own[i]))
		}
		for _, at := range m.At {
			if at < 0 || at > n-int64(m.Size) {
				return nil, fmt.Errorf("value %d is at %d of %d bytes", i, at, n)
			}
			all = append(all, patch{at, own[i]})
		}
	}
	return all, nil
}

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
// name: see sandbox.Spec.Own. A copy of it would know the same, in its environment
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
	for i, v := range own {
		marks[i].Size = len(v)
		longest = max(longest, len(v))
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
		for i, v := range own {
			for from := 0; v != ""; from++ {
				k := bytes.Index(window[from:], []byte(v))
				if from += k; k < 0 || from >= done {
					break
				}
				marks[i].At = append(marks[i].At, before+int64(from))
			}
		}
		if last {
			return marks, nil
		}
		before += int64(done)
		window = window[:copy(window, window[done:])]
	}
}

// readMarks reads the marks of a snapshot with the layout.
func readMarks(f *os.File, at layout) (marks []mark, err error) {
	err = json.NewDecoder(io.NewSectionReader(f, at.Pages+at.Kernel+at.Metadata, at.Marks)).Decode(&marks)
	return marks, err
}

// patch is a copy's own value and where in the snapshot's pages it belongs.
type patch struct {
	at    int64
	value string
}

// patchesOf returns where own belongs in the first n bytes of a snapshot.
func patchesOf(marks []mark, own []string, n int64) (all []patch, err error) {
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

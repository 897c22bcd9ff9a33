package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// position is a place in a function's log.
type position struct {
	segment int   // from 1 on
	offset  int64 // bytes into the segment
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

const suffix = ".jsonl"

func segmentPath(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", n, suffix))
}

// segments returns the numbers of the segments in dir in ascending order. Other
// files are ignored.
func segments(dir string) ([]int, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int
	for _, f := range files {
		base, ok := strings.CutSuffix(f.Name(), suffix)
		if n, err := strconv.Atoi(base); ok && err == nil && n > 0 {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// wholeLines returns the size of the part of a file that ends with a line end.
// What follows was torn off by a crash.
func wholeLines(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// tornAfter returns how many bytes of a line follow the whole ones. Zeros are no
// part of it: they are room that was taken and not used.
func tornAfter(f *os.File, size int64) (int, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	torn := 0
	buf := make([]byte, 64<<10)
	for at := size; at < end; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err != nil {
			return 0, err
		}
		torn += n - bytes.Count(buf[:n], []byte{0})
		at += int64(n)
	}
	return torn, nil
}

// cutAt returns where to cut text so that the first part holds at most MaxText
// bytes and no character is cut in two.
func cutAt(text string) int {
	if len(text) <= MaxText {
		return len(text)
	}
	for cut := MaxText; cut > MaxText-utf8.UTFMax; cut-- {
		if utf8.RuneStart(text[cut]) {
			return cut
		}
	}
	return MaxText
}

// readSegment calls fn with each entry of the segment from p on, up to end, whose
// line passes worth. A segment that retention removed has none. more is false
// when fn wants no more.
func readSegment(dir string, p, end position, worth func([]byte) bool, fn func(Entry) bool) (more bool, err error) {
	f, err := os.Open(segmentPath(dir, p.segment))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	var src io.Reader = f
	if _, err := f.Seek(p.offset, io.SeekStart); err != nil {
		return false, err
	}
	if p.segment == end.segment {
		src = io.LimitReader(f, end.offset-p.offset)
	}
	r := bufio.NewReaderSize(src, 64<<10)
	var long []byte
	for {
		line, err := readLine(r, &long)
		if err == io.EOF { // a torn rest is no entry
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if !worth(line) {
			continue
		}
		if e, ok := parseLine(line); ok && !fn(e) {
			return false, nil
		}
	}
}

// readLine returns the next line, which is valid until the next call; long holds
// those that the reader does not.
func readLine(r *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	*long = (*long)[:0]
	for err == bufio.ErrBufferFull {
		*long = append(*long, line...)
		line, err = r.ReadSlice('\n')
	}
	*long = append(*long, line...)
	return *long, err
}

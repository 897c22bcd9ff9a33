package logs

import (
	"fmt"
	"time"
)

// flood limits how much the code of a function writes: a bucket of bytes that
// fills at a steady rate. What finds it empty is left out and counted.
type flood struct {
	rate, burst float64
	left        float64   // bytes in the bucket
	at          time.Time // when left was right

	lines, bytes int       // left out since the last note
	noted        time.Time // when the last note was written
}

// noteEvery is how often a flood is noted while it lasts.
const noteEvery = time.Second

func (f *flood) init(rate, burst int64) {
	f.rate, f.burst, f.left = float64(rate), float64(burst), float64(burst)
}

// admits reports whether a line of that size may be written.
func (f *flood) admits(size int, now time.Time) bool {
	if f.left < f.burst {
		f.left = min(f.burst, f.left+f.rate*now.Sub(f.at).Seconds())
	}
	f.at = now
	if float64(size) > f.left {
		f.lines++
		f.bytes += size
		return false
	}
	f.left -= float64(size)
	return true
}

// note returns the line that tells of what was left out, or "" if there is
// nothing to tell now. With last it does not wait for more.
func (f *flood) note(now time.Time, last bool) string {
	if f.lines == 0 || !last && now.Sub(f.noted) < noteEvery {
		return ""
	}
	text := fmt.Sprintf("%d log lines (%d bytes) were left out: the function writes more than %d bytes a second", f.lines, f.bytes, int64(f.rate))
	f.lines, f.bytes, f.noted = 0, 0, now
	return text
}

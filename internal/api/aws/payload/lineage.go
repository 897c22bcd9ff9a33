package payload

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/event"
)

// TraceHeader carries the trace that a request is part of, and the functions that
// its chain of events came through. AWS's SDKs send on what a function was given.
const TraceHeader = "X-Amzn-Trace-Id"

// lineageField is the part of the header that holds the functions:
// Lineage=NAME:PASSES+NAME:PASSES. The SDKs percent-encode most characters, but none of these.
const lineageField = "Lineage="

// maxLineage bounds how many functions of a chain are told.
const maxLineage = 32

// Lineage reads the functions that a chain came through from a trace header.
// What it can't read it leaves out.
func Lineage(header string) (l event.Lineage) {
	for field := range strings.SplitSeq(header, ";") {
		list, ok := strings.CutPrefix(strings.TrimSpace(field), lineageField)
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(list, "+") {
			name, passes, _ := strings.Cut(part, ":")
			n, err := strconv.Atoi(passes)
			if err != nil || n < 1 || name == "" || len(l.Counts) >= maxLineage {
				continue
			}
			if l.Counts == nil {
				l.Counts = map[string]int{}
			}
			l.Counts[name] = n
		}
	}
	return l
}

// Trace returns a trace header with the functions of l in place of its own. An
// empty header gives a new trace, which is not recorded.
func (Calls) Trace(header string, l event.Lineage) string {
	if header == "" {
		header = NewTrace(time.Now())
	}
	var b strings.Builder
	for field := range strings.SplitSeq(header, ";") {
		if strings.HasPrefix(strings.TrimSpace(field), lineageField) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(field)
	}
	names := slices.SortedFunc(maps.Keys(l.Counts), func(a, b string) int {
		if d := l.Counts[b] - l.Counts[a]; d != 0 {
			return d // those that were passed most must not get lost
		}
		return strings.Compare(a, b)
	})
	for i, name := range names[:min(len(names), maxLineage)] {
		if i == 0 {
			b.WriteString(";" + lineageField)
		} else {
			b.WriteByte('+')
		}
		b.WriteString(name + ":" + strconv.Itoa(l.Counts[name]))
	}
	return b.String()
}

// NewTrace makes the trace header of a call whose caller traces nothing.
func NewTrace(now time.Time) string {
	var b [20]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(now.Unix()), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
}

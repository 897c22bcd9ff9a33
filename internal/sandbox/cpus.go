package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	cpuWindow = 100 * time.Millisecond // the least time that is looked at: the kernel counts in hundredths of a second
	cpuStale  = time.Second            // a longer time says nothing about now
	cpuFull   = 0.9                    // share of the time in which CPUs must have been busy
	cpuFreed  = 0.75                   // and the share below which they are full no longer
)

// CPUs tells whether the machine's processors have anything to spare, from
// /proc/stat. It is safe for concurrent use.
type CPUs struct {
	read func() (busy, total uint64, ok bool)
	now  func() time.Time

	mu          sync.Mutex
	at          time.Time // of the last reading
	busy, total uint64
	full        bool
}

// NewCPUs returns a CPUs for this machine.
func NewCPUs() *CPUs { return &CPUs{read: readCPUs, now: time.Now} }

// Saturated reports whether all processors were busy over the last moments. Where
// that can't be known it is false. It takes some microseconds now and then.
func (c *CPUs) Saturated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	passed := now.Sub(c.at)
	if passed < cpuWindow {
		return c.full
	}
	busy, total, ok := c.read()
	share := cpuFull
	if c.full {
		share = cpuFreed
	}
	c.full = ok && passed < cpuStale && total > c.total && float64(busy-c.busy) >= share*float64(total-c.total)
	c.at, c.busy, c.total = now, busy, total
	return c.full
}

// readCPUs returns the time that processors were busy since the machine started,
// and all their time: proc_stat(5). Time that a hypervisor gave to others counts
// as busy.
func readCPUs() (busy, total uint64, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	var b [512]byte
	n, _ := f.Read(b[:])
	return parseCPUs(b[:n])
}

// parseCPUs reads the first line of /proc/stat.
func parseCPUs(stat []byte) (busy, total uint64, ok bool) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, 0, false
	}
	for n, f := range fields[1:9] { // user nice system idle iowait irq softirq steal
		v, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		total += v
		if n != 3 && n != 4 {
			busy += v
		}
	}
	return busy, total, true
}

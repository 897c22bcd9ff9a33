package sandbox

import "time"

const (
	// peakInterval is how often an instance is asked for its peak, at most, when
	// its calls are short: asking takes longer than they do.
	peakInterval = 100 * time.Millisecond
	// peakPatience is how often an instance is asked whose peak has not grown.
	peakPatience = time.Second
	// peakGrowth is what counts as growth: less isn't seen in a report.
	peakGrowth = 1 << 20
)

// peak is the most memory that an instance has had in use, as far as it was asked.
// The driver knows it at any time, so that asking later finds no less.
type peak struct {
	bytes int64
	asked time.Time
	every time.Duration // until it is asked again
}

// after returns the peak after a call that took so long: known, or asked for now. It
// is asked after each long call, and whenever always says so.
func (p *peak) after(took time.Duration, always bool, sb Sandbox) int64 {
	if !always && took < peakInterval && time.Since(p.asked) < p.every {
		return p.bytes
	}
	p.every = min(max(2*p.every, peakInterval), peakPatience)
	if _, most, err := sb.Memory(); err == nil { // else it has ended: what was known holds
		if most >= p.bytes+peakGrowth {
			p.every = peakInterval
		}
		p.bytes = max(p.bytes, most)
	}
	p.asked = time.Now()
	return p.bytes
}

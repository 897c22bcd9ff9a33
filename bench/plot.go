package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"strings"
)

// colours of the ways to start, by name; they can be told apart in grey, too.
var colours = map[string]string{
	"snapshot": "#0f766e", "snapshot, empty pool": "#5eada5", "no snapshot": "#b45309",
	"floor": "#94a3b8", "runc": "#475569", "workerd": "#7c3aed",
}

// plotCold draws the medians beside the results file, with a tick at the 99th
// percentile.
func plotCold(results string, all []subject, rows map[string][]*start) error {
	const left, bar, gap, width = 190, 16, 22, 900
	longest, count := 1.0, 0
	for _, s := range all {
		count += len(rows[s.name])
		for _, r := range rows[s.name] {
			longest = max(longest, r.total.q(.99))
		}
	}
	height := 70 + count*bar + len(all)*gap + 20
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="16" y="28" font-size="17" font-weight="600" fill="#0f172a">Cold start from zero, ms</text><text x="16" y="47" fill="#64748b">bar: median; tick: 99th percentile; shorter is better</text>`+"\n", width, height)
	scale := (width - left - 90) / longest
	y := 70
	for _, s := range all {
		fmt.Fprintf(&b, `<text x="16" y="%d" font-weight="600" fill="#0f172a">%s</text>`+"\n", y+12, html.EscapeString(s.name))
		for _, r := range rows[s.name] {
			p50, p99 := r.total.q(.5), r.total.q(.99)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#475569" font-size="11">%s</text>`, left-8, y+12, html.EscapeString(r.name))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`, left, y+2, p50*scale, bar-4, colours[r.name])
			fmt.Fprintf(&b, `<path d="M%.1f %dv%dM%.1f %dH%.1f" stroke="#0f172a" stroke-opacity=".45" fill="none"/>`, left+p99*scale, y+3, bar-6, left+p50*scale, y+bar/2, left+p99*scale)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#0f172a" font-size="11">%.0f</text>`+"\n", left+p99*scale+6, y+12, p50)
			y += bar
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(strings.TrimSuffix(results, ".md")+".svg", b.Bytes(), 0o644)
}

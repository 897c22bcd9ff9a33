// Command bench measures a node beside a plain HTTP server that runs the same
// handlers without isolation, on the same machine in the same run, and prints
// the figures and their ratios as Markdown.
//
//	make bench                 # writes bench/results/DATE.md and a plot, DATE.svg
//	make bench-quick           # fewer runs, to see that it works
//	make bench-events          # queues and what else wakes functions: DATE-events.md
//	make bench-http            # HTTP endpoints and web servers: DATE-http.md
//	make bench-console         # pages over a million records: DATE-console.md
//	make bench-observe         # what logs, records, traces and metrics cost: DATE-observe.md
//	go run ./bench -quick      # fewer runs, to standard output
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the bench's flags.
type options struct {
	binary  string
	driver  string
	cold    int           // cold starts per function
	burst   int           // concurrent calls to a function at zero
	warm    int           // warm calls with one caller
	span    time.Duration // of each throughput run
	callers []int
	only    string
	wake    bool // measure events instead of calls
	events  int  // of each source
	timers  int  // due in one second
	http    bool // measure endpoints instead of calls
	pages   bool // measure the console instead of calls
	records int  // in the console's ledger
	observe bool // measure observability instead of calls
	rounds  int  // on each node
	lines   int  // of a log
	out     string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "mayfly", "bin/mayfly", "the `program` to measure")
	flag.StringVar(&o.driver, "driver", "gvisor", "sandbox driver")
	flag.IntVar(&o.cold, "cold", 50, "cold starts of each function")
	flag.IntVar(&o.burst, "burst", 100, "concurrent calls to a function at zero")
	flag.IntVar(&o.warm, "warm", 3000, "warm calls of each function with one caller")
	flag.DurationVar(&o.span, "span", 3*time.Second, "how long each throughput run takes")
	flag.StringVar(&o.only, "only", "", "measure only functions whose `name` contains this; with -wake, only accept, queue, latency or timers")
	flag.StringVar(&o.out, "o", "", "write the results to this `file`, besides standard output")
	flag.BoolVar(&o.wake, "wake", false, "measure queues and what else wakes functions, instead of calls")
	flag.BoolVar(&o.http, "http", false, "measure HTTP endpoints and web servers, instead of calls")
	flag.BoolVar(&o.pages, "console", false, "measure pages of the console and mayfly dev, instead of calls")
	flag.IntVar(&o.records, "records", 1_000_000, "records that the console's node has")
	flag.BoolVar(&o.observe, "observe", false, "measure what observability costs, instead of calls")
	flag.IntVar(&o.rounds, "rounds", observeRounds, "rounds on each node, with -observe")
	flag.IntVar(&o.lines, "lines", 150_000, "lines that a function prints at once, with -observe")
	flag.IntVar(&o.events, "events", 1000, "events of each source")
	flag.IntVar(&o.timers, "timers", 10000, "timers that are due in one second")
	quick := flag.Bool("quick", false, "few runs: to see that it works, not to quote")
	flag.Parse()
	o.callers = []int{1, 8, 64}
	if *quick {
		o.cold, o.burst, o.warm, o.span, o.callers, o.events, o.timers, o.records, o.rounds, o.lines = 3, 10, 200, 300*time.Millisecond, []int{1, 8}, 100, 500, 10_000, 2, 10_000
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	out := io.Writer(os.Stdout)
	if o.out != "" {
		f, cerr := os.Create(o.out)
		if cerr != nil {
			return cerr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = io.MultiWriter(os.Stdout, f)
	}
	work, err := os.MkdirTemp("", "mayfly-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	switch {
	case o.wake:
		return runEvents(ctx, out, o, work)
	case o.http:
		return runHTTP(ctx, out, o, work)
	case o.pages:
		return runConsole(ctx, out, o, work)
	case o.observe:
		return runObserve(ctx, out, o, work)
	}
	note("building the handlers")
	all, err := subjects(ctx, work, o.only)
	if err != nil {
		return err
	}
	heading(out, o, "Bench of")
	if err := coldTable(ctx, out, o, work, all); err != nil {
		return err
	}
	small := slices.DeleteFunc(slices.Clone(all), func(s subject) bool { return s.heavy })
	if err := densityTable(ctx, out, o, work, small); err != nil {
		return err
	}
	n, err := startNode(ctx, o, work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	rest, err := n.rss()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNode at rest, before the first function: **%.1f MiB** RSS.\n", mib(rest))
	for _, s := range small {
		if err := n.create(ctx, s); err != nil {
			return err
		}
	}
	for _, w := range []warm{{"1 KB", payload, o.warm, o.callers}, {"1 MB", payloadOf(1 << 20), o.warm / 15, []int{8}}} {
		if err := warmTable(ctx, out, o, n, small, w); err != nil {
			return err
		}
	}
	busy, err := n.rss()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNode after all runs: %.1f MiB RSS.\n", mib(busy))
	return nil
}

// heading begins the results: of what and when, on which machine, by which command.
func heading(out io.Writer, o options, what string) {
	fmt.Fprintf(out, "# %s %s\n\n", what, time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(out, "%s; %d CPUs, %s; driver %s. Command: `%s`\n\n", kernel(), runtime.NumCPU(), runtime.GOARCH, o.driver, strings.Join(append([]string{"go run ./bench"}, os.Args[1:]...), " "))
}

// warm is what instances that are there are called with.
type warm struct {
	size    string
	payload []byte
	calls   int // with one caller
	callers []int
}

// warmTable measures latency and throughput beside the plain server.
func warmTable(ctx context.Context, out io.Writer, o options, n *node, subjects []subject, w warm) error {
	fmt.Fprintf(out, "\n## Warm calls, payloads and answers of %s, %d calls with one caller\n\n", w.size, w.calls)
	fmt.Fprintln(out, "Overhead: difference of the medians, Mayfly less plain server. Both run in turns.")
	fmt.Fprint(out, "\n| function | p50 ms | p99 ms | plain p50 | plain p99 | overhead p50 ms |")
	for _, c := range w.callers {
		fmt.Fprintf(out, " %d callers/s | plain/s | ratio |", c)
	}
	fmt.Fprint(out, "\n|---|---|---|---|---|---|"+strings.Repeat("---|---|---|", len(w.callers))+"\n")
	for _, s := range subjects {
		note("warm: " + s.name + ", " + w.size)
		plain, err := startPlain(ctx, s)
		if err != nil {
			return err
		}
		err = warmRow(ctx, out, o, n, s, plain, w)
		if err = errors.Join(err, plain.stop()); err != nil {
			return err
		}
	}
	return nil
}

func warmRow(ctx context.Context, out io.Writer, o options, n *node, s subject, plain *server, w warm) error {
	ours, theirs := n.caller(s, w.payload), plain.caller(w.payload)
	var mine, base series
	turn := max(w.calls/12, 1)
	if _, err := sequence(ctx, ours, turn); err != nil { // warms up
		return err
	}
	if _, err := sequence(ctx, theirs, turn); err != nil {
		return err
	}
	for done := 0; done < w.calls; done += turn {
		a, err := sequence(ctx, ours, min(turn, w.calls-done))
		if err != nil {
			return err
		}
		b, err := sequence(ctx, theirs, min(turn, w.calls-done))
		if err != nil {
			return err
		}
		mine, base = append(mine, a...), append(base, b...)
	}
	fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f | %.2f | **%.2f** |", s.name, mine.q(.5), mine.q(.99), base.q(.5), base.q(.99), mine.q(.5)-base.q(.5))
	for _, c := range w.callers {
		note(fmt.Sprintf("throughput: %s with %d callers", s.name, c))
		if _, err := crowd(ctx, ours, c, o.span); err != nil { // instances start here
			return err
		}
		a, err := crowd(ctx, ours, c, o.span)
		if err != nil {
			return err
		}
		b, err := crowd(ctx, theirs, c, o.span)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, " %.0f | %.0f | %.2f |", a, b, a/b)
	}
	fmt.Fprintln(out)
	return nil
}

func note(s string) { fmt.Fprintln(os.Stderr, "·", s) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(b))
}

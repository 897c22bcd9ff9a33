package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	observeRounds  = 7
	observeCallers = 8
	// observeSettle is how long after the last call a node still enters records.
	observeSettle = 1500 * time.Millisecond
)

// observed is a node that observes its calls to some degree.
type observed struct {
	name  string
	node  *node
	more  bool   // records all calls, and is read by Prometheus every second
	rates series // calls per second of each round
	cpu   series // of the node's own process, in microseconds a call
}

// runObserve measures what observability costs calls, and how many lines of log a
// node takes.
func runObserve(ctx context.Context, out io.Writer, o options, work string) (err error) {
	note("building the handlers")
	all, err := subjects(ctx, work, o.only)
	if err != nil {
		return err
	}
	small := slices.DeleteFunc(all, func(s subject) bool { return s.heavy })
	collector, spans, err := startCollector()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Close()) }()
	nodes := []*observed{{name: "nothing"}, {name: "the default"}, {name: "everything", more: true}}
	flags := [][]string{{"--unobserved"}, nil, {"--otlp", "http://" + collector.Addr}}
	for i, w := range nodes {
		dir := filepath.Join(work, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if w.node, err = startNode(ctx, o, dir, flags[i]...); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.node.stop()) }()
	}
	heading(out, o, "Bench of observability,")
	if err := observeTable(ctx, out, o, nodes, small); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe collector got %d requests.\n", spans.Load())
	return linesTable(ctx, out, o, nodes[1].node, work)
}

// startCollector serves a collector of traces and metrics that throws them away.
func startCollector() (*http.Server, *atomic.Int64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	var got atomic.Int64
	s := &http.Server{Addr: l.Addr().String(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			note("the collector: " + err.Error())
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}), ReadHeaderTimeout: time.Minute}
	go s.Serve(l) // ends with Close
	return s, &got, nil
}

// observeTable runs rounds on all nodes in turn, each node under load alone.
func observeTable(ctx context.Context, out io.Writer, o options, nodes []*observed, all []subject) error {
	fmt.Fprintf(out, "## Throughput of warm calls, %d callers, 1 KB payload\n\n", observeCallers)
	fmt.Fprintf(out, "Three nodes run at once, and %d rounds of %s load one after the other; records are entered and spans sent before the next has its turn. The first node observes nothing (`--unobserved`): no log lines, records, spans and counters. The second is as a node is by default: START, END and REPORT lines, a durable record of each call, the ledger, spans in memory, counters. The third besides sends spans and metrics to a collector (OTLP, on this machine), keeps each call's event and answer, and has its /metrics read every second.\n\n", o.rounds, o.span)
	fmt.Fprintln(out, "Ratio: median of the rounds' ratios to the first node. CPU: of the node's process, without sandboxes.")
	fmt.Fprintln(out, "\n| function | observed | calls/s | ratio | lost | node's CPU µs a call |\n|---|---|---|---|---|---|")
	for _, s := range all {
		for _, w := range nodes {
			if err := w.prepare(ctx, s); err != nil {
				return err
			}
		}
		for _, w := range nodes { // instances start in a round that does not count
			if err := w.round(ctx, o, s); err != nil {
				return err
			}
			w.rates, w.cpu = nil, nil
		}
		for round := range o.rounds {
			note(fmt.Sprintf("observability: %s, round %d", s.name, round+1))
			for i := range nodes { // a different one begins each round
				if err := nodes[(i+round)%len(nodes)].round(ctx, o, s); err != nil {
					return err
				}
			}
		}
		for _, w := range nodes {
			var ratios series
			for i, r := range w.rates {
				ratios = append(ratios, r/nodes[0].rates[i])
			}
			fmt.Fprintf(out, "| %s | %s | %.0f | %.3f | **%.1f %%** | %.0f |\n", s.name, w.name, w.rates.q(.5), ratios.q(.5), 100*(1-ratios.q(.5)), w.cpu.q(.5))
		}
	}
	return nil
}

func (w *observed) prepare(ctx context.Context, s subject) error {
	if err := w.node.create(ctx, s); err != nil {
		return err
	}
	if !w.more {
		return nil
	}
	return w.node.put(ctx, "recording/"+s.name, `{"mode":"all"}`)
}

// round loads the node, first until it is in its stride.
func (w *observed) round(ctx context.Context, o options, s subject) error {
	c := w.node.caller(s, payload)
	if w.more {
		reading, stop := context.WithCancel(ctx)
		defer stop()
		go w.read(reading)
	}
	if _, err := crowd(ctx, c, observeCallers, max(o.span/3, time.Second)); err != nil {
		return err
	}
	before, err := w.node.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	rate, err := crowd(ctx, c, observeCallers, o.span)
	if err != nil {
		return err
	}
	calls := rate * time.Since(began).Seconds()
	after, err := w.node.cpu()
	if err != nil {
		return err
	}
	w.rates = append(w.rates, rate)
	w.cpu = append(w.cpu, (after-before).Seconds()*1e6/calls)
	return pause(ctx, observeSettle)
}

// read is a Prometheus that reads often.
func (w *observed) read(ctx context.Context) {
	for pause(ctx, time.Second) == nil {
		if _, err := w.node.metrics(ctx); err != nil { // what they say is not measured
			if ctx.Err() == nil {
				note(err.Error())
			}
			return
		}
	}
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put tells the node a setting.
func (n *node) put(ctx context.Context, path, body string) error {
	_, err := n.ask(ctx, http.MethodPut, path, []byte(body))
	return err
}

// cpu returns the CPU time that the node's own process has used.
func (n *node) cpu() (time.Duration, error) { return cpuOf(fmt.Sprint(n.cmd.Process.Pid)) }

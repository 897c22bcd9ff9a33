package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	coldKeepAlive    = 200 * time.Millisecond // of the nodes whose cold starts are measured
	snapshotPatience = 90 * time.Second
)

// start is one way to begin from zero, and what it took.
type start struct {
	name                          string
	total                         series
	queue, sandbox, restore, init series // medians of these are the phases
	handler                       series
}

// coldTable measures first answers from zero: with snapshots, with snapshots and no
// sandbox ready, without snapshots, and beside them a plain process, a container
// of runc, and workerd.
func coldTable(ctx context.Context, out io.Writer, o options, work string, all []subject) error {
	rows := make(map[string][]*start, len(all))
	for _, mode := range []struct {
		name, spareMB string
		off           bool
	}{{"snapshot", "96", false}, {"snapshot, empty pool", "0", false}, {"no snapshot", "96", true}} {
		if o.driver != "gvisor" && !mode.off {
			continue // it makes no snapshots
		}
		if err := coldMode(ctx, o, work, all, rows, mode.name, mode.spareMB, mode.off); err != nil {
			return err
		}
	}
	if err := coldPeers(ctx, o, work, all, rows); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n## Cold start from zero, %d runs each, to the answer over HTTP\n\n", o.cold)
	fmt.Fprintln(out, "Floor: the plain process of the same runtime and handler, from exec to its first answer, with no isolation. runc: the same process in a container. Ratios are to those medians of this run. Phases are medians, from the calls' records.")
	fmt.Fprint(out, "\n| function | start | p50 ms | p99 ms | min ms | queue | sandbox | restore | init | handler | to floor | to runc |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		var floor, runc float64
		for _, r := range rows[s.name] {
			switch r.name {
			case "floor":
				floor = r.total.q(.5)
			case "runc":
				runc = r.total.q(.5)
			}
		}
		for _, r := range rows[s.name] {
			p50 := r.total.q(.5)
			fmt.Fprintf(out, "| %s | %s | **%.1f** | %.1f | %.1f |", s.name, r.name, p50, r.total.q(.99), r.total.q(0))
			for _, phase := range []series{r.queue, r.sandbox, r.restore, r.init, r.handler} {
				fmt.Fprint(out, cell(phase.q(.5), "%.1f"))
			}
			fmt.Fprintf(out, "%s%s\n", ratio(p50, floor), ratio(p50, runc))
		}
	}
	if o.out == "" {
		return nil
	}
	return plotCold(o.out, all, rows)
}

func cell(v float64, format string) string {
	if v == 0 {
		return " |"
	}
	return fmt.Sprintf(" "+format+" |", v)
}

func ratio(a, b float64) string {
	if b == 0 {
		return " |"
	}
	return cell(a/b, "%.2f")
}

// coldMode measures all functions on a node of their own, in turns.
func coldMode(ctx context.Context, o options, work string, all []subject, rows map[string][]*start, name, spareMB string, off bool) (err error) {
	dir, err := os.MkdirTemp(work, "node-")
	if err != nil {
		return err
	}
	n, err := startNode(ctx, o, dir, "--keep-alive", coldKeepAlive.String(), "--spare-memory", spareMB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	for _, s := range all {
		note("cold: " + s.name + ", " + name)
		s.off = off
		if err := n.create(ctx, s); err != nil {
			return err
		}
		if err := n.firstCopy(ctx, s); err != nil {
			return err
		}
		rows[s.name] = append(rows[s.name], &start{name: name})
	}
	for range o.cold {
		for _, s := range all {
			if err := n.atZero(ctx, spareMB != "0" && !off); err != nil {
				return err
			}
			took, rec, err := n.coldCall(ctx, s)
			if err != nil {
				return err
			}
			if !off && rec.Phases.Restore == 0 {
				return fmt.Errorf("a start of %s came of no snapshot", s.name)
			}
			r := rows[s.name][len(rows[s.name])-1]
			r.total.add(took)
			r.queue.add(rec.Phases.Queue)
			r.sandbox.add(rec.Phases.Sandbox)
			r.restore.add(rec.Phases.Restore)
			r.init.add(rec.Phases.Init)
			r.handler.add(rec.Duration)
		}
	}
	return nil
}

// atZero waits until no instance is left, and a sandbox is ready if one is wanted.
func (n *node) atZero(ctx context.Context, ready bool) error {
	return n.settle(ctx, "the last instance's end", func(s status) bool {
		return len(s.Instances) == 0 && (!ready || s.Snapshots.Spares > 0)
	})
}

// firstCopy calls s until a start comes of its snapshot; once if it wants none.
func (n *node) firstCopy(ctx context.Context, s subject) error {
	for began := time.Now(); time.Since(began) < snapshotPatience; {
		_, rec, err := n.coldCall(ctx, s)
		if err != nil || s.off || rec.Phases.Restore > 0 {
			return err
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("no start of %s came of a snapshot within %v", s.name, snapshotPatience)
}

// coldPeers measures what has less isolation, in turns.
func coldPeers(ctx context.Context, o options, work string, all []subject, rows map[string][]*start) error {
	_, noRunc := exec.LookPath("runc")
	if noRunc != nil {
		note("no runc here (apt-get install runc)")
	} else if os.Geteuid() != 0 {
		noRunc = errors.New("not root")
	}
	modules, noWorkerd := npm(ctx)
	if noWorkerd != nil {
		note("no workerd: " + noWorkerd.Error())
	}
	for _, s := range all {
		note("cold: " + s.name + ", peers")
		peers := []*start{{name: "floor"}}
		starts := []func() (time.Duration, error){func() (time.Duration, error) { return plainColdStart(ctx, s) }}
		if noRunc == nil {
			peers = append(peers, &start{name: "runc"})
			starts = append(starts, func() (time.Duration, error) { return runcStart(ctx, s, work) })
		}
		if s.name == "node" && noWorkerd == nil {
			peers = append(peers, &start{name: "workerd"})
			starts = append(starts, func() (time.Duration, error) { return workerdStart(ctx, modules, filepath.Clean(work)) })
		}
		for range o.cold {
			for i, begin := range starts {
				took, err := begin()
				if err != nil { // the others are worth their time all the same
					note(fmt.Sprintf("%s of %s: %v", peers[i].name, s.name, err))
					continue
				}
				peers[i].total.add(took)
			}
		}
		for _, p := range peers {
			if len(p.total) > 0 {
				rows[s.name] = append(rows[s.name], p)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

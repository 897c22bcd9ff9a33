package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	copiesKeepAlive = 300 * time.Millisecond // of the nodes whose cold starts are copies
	copiesApart     = 2 * time.Second        // between two of them: the first is gone, a blank is there
	copiesPatience  = time.Minute            // for a snapshot
)

// copyTable measures first answers from zero that come of a snapshot, with blank
// sandboxes in reserve and without, beside the plain process's.
func copyTable(ctx context.Context, out io.Writer, o options, work string, subjects []subject) error {
	fmt.Fprintf(out, "\n## Cold start from a snapshot, %d runs each, through the HTTP API\n\n", o.cold)
	fmt.Fprintln(out, "On nodes that keep an idle instance for", copiesKeepAlive, "only. Floor and phases as above.")
	fmt.Fprint(out, "\n| function | blanks | p50 ms | p99 ms | min ms | sandbox | restore | floor p50 ms | ratio |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, pool := range []struct{ name, mb string }{{"ready", "96"}, {"none", "0"}} {
		if err := copyRows(ctx, out, o, work, subjects, pool.name, pool.mb); err != nil {
			return err
		}
	}
	return nil
}

func copyRows(ctx context.Context, out io.Writer, o options, work string, subjects []subject, blanks, spareMB string) (err error) {
	dir := filepath.Join(work, "blanks-"+blanks)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	n, err := startNode(ctx, o, dir, "--keep-alive", copiesKeepAlive.String(), "--spare-memory", spareMB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	for _, s := range subjects {
		note("copies: " + s.name + ", blanks " + blanks)
		if err := n.create(ctx, s); err != nil {
			return err
		}
		if err := n.firstCopy(ctx, s); err != nil {
			return err
		}
		var total, sandbox, restore, floor series
		for range o.cold {
			took, rec, err := n.copyCall(ctx, s)
			if err != nil {
				return err
			}
			if rec.Phases.Restore == 0 {
				return fmt.Errorf("a start of %s came of no snapshot", s.name)
			}
			total.add(took)
			sandbox.add(rec.Phases.Sandbox)
			restore.add(rec.Phases.Restore)
			if took, err = plainColdStart(ctx, s); err != nil {
				return err
			}
			floor.add(took)
		}
		fmt.Fprintf(out, "| %s | %s | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.2f |\n", s.name, blanks,
			total.q(.5), total.q(.99), total.q(0), sandbox.q(.5), restore.q(.5), floor.q(.5), total.q(.5)/floor.q(.5))
	}
	return nil
}

// firstCopy calls s until a start comes of its snapshot.
func (n *node) firstCopy(ctx context.Context, s subject) error {
	for began := time.Now(); time.Since(began) < copiesPatience; {
		_, rec, err := n.copyCall(ctx, s)
		if err != nil || rec.Phases.Restore > 0 {
			return err
		}
	}
	return fmt.Errorf("no start of %s came of a snapshot within %v; is the driver one that can make them?", s.name, copiesPatience)
}

// copyCall calls s when its last instance is gone.
func (n *node) copyCall(ctx context.Context, s subject) (time.Duration, record, error) {
	select {
	case <-time.After(copiesApart):
		return n.coldCall(ctx, s)
	case <-ctx.Done():
		return 0, record{}, ctx.Err()
	}
}

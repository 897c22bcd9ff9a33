package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// printer is the function that prints.
var printer = subject{name: "lines", runtime: "provided.al2023", handler: "bootstrap"}

// linesTable measures how many lines a second a node stores, beside a plain program
// that writes them to a file.
func linesTable(ctx context.Context, out io.Writer, o options, n *node, work string) error {
	binary := filepath.Join(work, "lines", "bootstrap")
	if err := os.Mkdir(filepath.Dir(binary), 0o700); err != nil {
		return err
	}
	if err := buildGo(ctx, binary, "./bench/handlers/lines"); err != nil {
		return err
	}
	var err error
	if printer.zip, err = pack(binary); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n## Lines of log stored\n\nA Go function prints %d lines of 95 bytes, one write each. Time from the call to its answer, by when all are stored: the log is read back and counted. Floor: the same program, plainly run, writes them to a file on the same disk. Taken in turns; the function is a new one each time, so that the flood limit (16 MiB at once, then 4 MiB a second) leaves nothing out.\n\n", o.lines)
	var ours, floor series
	for i := range o.rounds {
		note(fmt.Sprintf("lines of log, round %d", i+1))
		took, err := writePlainly(ctx, binary, filepath.Join(work, "lines", "out"), o.lines)
		if err != nil {
			return err
		}
		floor = append(floor, float64(o.lines)/took.Seconds())
		s := printer
		s.name += strconv.Itoa(i)
		if took, err = n.printLines(ctx, s, o.lines); err != nil {
			return err
		}
		ours = append(ours, float64(o.lines)/took.Seconds())
	}
	fmt.Fprintf(out, "| lines/s stored | to a file | ratio |\n|---|---|---|\n| **%.0f** | %.0f | %.2f |\n", ours.q(.5), floor.q(.5), ours.q(.5)/floor.q(.5))
	return nil
}

func writePlainly(ctx context.Context, binary, to string, lines int) (took time.Duration, err error) {
	f, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, binary, "-plain", strconv.Itoa(lines))
	cmd.Stdout, cmd.Stderr = f, os.Stderr
	began := time.Now()
	err = cmd.Run()
	return time.Since(began), err
}

// printLines has a new function print lines, and checks that the node has them.
func (n *node) printLines(ctx context.Context, s subject, lines int) (time.Duration, error) {
	if err := n.create(ctx, s); err != nil {
		return 0, err
	}
	print := func(lines int) (time.Duration, error) {
		req, err := n.signed(ctx, http.MethodPost, invocations(s.name), "lambda", fmt.Appendf(nil, `{"lines":%d}`, lines))
		if err != nil {
			return 0, err
		}
		began := time.Now()
		err = do(n.http, req)
		return time.Since(began), err
	}
	if _, err := print(0); err != nil { // its instance starts
		return 0, err
	}
	took, err := print(lines)
	if err != nil {
		return 0, err
	}
	stored, err := n.storedLines(ctx, s.name)
	if err == nil && stored != lines {
		err = fmt.Errorf("%s printed %d lines, and %d are stored", s.name, lines, stored)
	}
	return took, err
}

// storedLines counts what a function's code has in its log.
func (n *node) storedLines(ctx context.Context, function string) (stored int, err error) {
	b, err := n.ask(ctx, http.MethodGet, "logs/"+function, nil)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		var e struct{ Stream string }
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, err
		}
		if e.Stream == "output" {
			stored++
		}
	}
	return stored, nil
}

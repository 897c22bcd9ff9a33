package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// saves is how many times a file is saved that mayfly dev watches.
const saves = 20

// devTable measures how long after a save a call is answered by the new code.
func devTable(ctx context.Context, out io.Writer, o options, n *node, work string) (err error) {
	note("saves with mayfly dev")
	dir := filepath.Join(work, "saved")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	save := func(answer string) error {
		code := "def handler(event, context):\n    return '" + answer + "'\n"
		return os.WriteFile(filepath.Join(dir, "app.py"), []byte(code), 0o600)
	}
	if err := save("first"); err != nil {
		return err
	}
	dev := exec.CommandContext(ctx, o.binary, "dev", "--data-dir", n.dir, dir)
	if err := dev.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, dev.Process.Signal(syscall.SIGINT), dev.Wait())
	}()
	if err := n.answers(ctx, "saved", "first"); err != nil {
		return err
	}
	var took series
	for i := range saves {
		if err := pause(ctx, time.Second); err != nil { // a person's, and a snapshot's of what was saved before
			return err
		}
		want := fmt.Sprint("save ", i)
		began := time.Now()
		if err := save(want); err != nil {
			return err
		}
		if err := n.answers(ctx, "saved", want); err != nil {
			return err
		}
		took.add(time.Since(began))
	}
	fmt.Fprintf(out, "\n## From a save to the new code's answer, `mayfly dev`, %d saves of a Python function\n\n| p50 ms | slowest ms |\n|---|---|\n| **%.0f** | %.0f |\n", saves, took.q(.5), took.q(1))
	return nil
}

// answers returns when a function answers a call with text.
func (n *node) answers(ctx context.Context, function, text string) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		req, err := n.signed(ctx, http.MethodPost, invocations(function), "lambda", []byte("{}"))
		if err != nil {
			return err
		}
		if b, err := n.answer(req); err == nil && strings.Contains(string(b), text) { // there may be no function yet
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s did not answer %q", function, text)
}

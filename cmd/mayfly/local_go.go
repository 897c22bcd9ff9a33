package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/replay"
)

// localGo builds a Go function and returns what runs it against a Runtime API that
// hands out the one event.
func (p *project) localGo(ctx context.Context, scratch string, rec replay.Recording, debug bool) (cmd *exec.Cmd, wait string, err error) {
	if err := installed("go", "https://go.dev/dl has it"); err != nil {
		return nil, "", err
	}
	if debug {
		if err := installed("dlv", "`go install github.com/go-delve/delve/cmd/dlv@latest` installs it"); err != nil {
			return nil, "", err
		}
	}
	binary := filepath.Join(scratch, "bootstrap")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	if debug { // optimised code shows wrong lines and variables
		build.Args = []string{"go", "build", "-gcflags=all=-N -l", "-o", binary, "."}
	}
	build.Dir = p.dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("build %s: %w\n%s", p.dir, err, out)
	}
	ctx, cancel := context.WithCancel(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, "", err
	}
	s := &oneCall{rec: rec, answer: filepath.Join(scratch, "answer.json"), done: cancel}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go server.Serve(l) // until the program ends: a runtime that is cut off would complain
	if debug {
		cmd = exec.CommandContext(ctx, "dlv", "exec", "--headless", "--listen="+debugGo, "--api-version=2", binary)
		wait = "Waiting for a debugger at " + debugGo + " (VS Code: Go, \"Connect to server\")."
	} else {
		cmd = exec.CommandContext(ctx, binary)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // answered: a runtime waits for ever
	cmd.WaitDelay = 2 * time.Second
	cmd.Dir = p.dir
	cmd.Env = []string{"AWS_LAMBDA_RUNTIME_API=" + l.Addr().String()}
	return cmd, wait, nil
}

// oneCall is a Runtime API with one call to hand out.
type oneCall struct {
	rec    replay.Recording
	answer string // file
	done   func()
	given  bool
}

// deadline is far: a person steps through the code.
const deadline = 24 * time.Hour

func (s *oneCall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/2018-06-01/runtime/")
	switch {
	case path == "invocation/next" && !s.given:
		s.given = true
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", s.rec.RequestID)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(deadline).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:"+s.rec.Function)
		w.Write(s.rec.Event)
	case path == "invocation/next":
		<-r.Context().Done() // there is no second call
	default:
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = s.keep(strings.HasSuffix(path, "/error"), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		s.done()
	}
}

func (s *oneCall) keep(failed bool, body []byte) error {
	answer := json.RawMessage(body)
	if !json.Valid(body) {
		b, err := json.Marshal(string(body))
		if err != nil {
			return err
		}
		answer = b
	}
	b, err := json.Marshal(map[string]any{"failed": failed, "answer": answer})
	if err != nil {
		return err
	}
	return os.WriteFile(s.answer, b, 0o600)
}

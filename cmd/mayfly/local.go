package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/replay"
)

// Where debuggers listen, as the guide and VS Code's defaults have it.
const (
	debugPython = "127.0.0.1:5678"
	debugNode   = "127.0.0.1:9229"
	debugGo     = "127.0.0.1:2345"
)

//go:embed local/run.py
var runPython string

//go:embed local/run.mjs
var runNode string

// runLocally runs a recorded event through the handler in a directory, as a plain
// process of this machine: for a debugger, not for strangers' code.
func (c *cli) runLocally(ctx context.Context, cl *client, rec replay.Recording, o replayOptions) (after replay.Recording, err error) {
	p, err := readProject(o.dir)
	if err != nil {
		return after, err
	}
	status, err := cl.node(ctx)
	if err != nil {
		return after, err
	}
	if err := p.infer(status.Runtimes); err != nil {
		return after, err
	}
	dir, err := os.MkdirTemp("", "mayfly-replay-")
	if err != nil {
		return after, err
	}
	defer os.RemoveAll(dir)
	cmd, wait, err := p.localCommand(ctx, dir, rec, o.debug)
	if err != nil {
		return after, err
	}
	if o.debug {
		fmt.Fprintln(c.err, wait)
	}
	answer := filepath.Join(dir, "answer.json")
	cmd.Env = append(append(os.Environ(), p.localEnv(rec, dir)...), cmd.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.err, c.err // the answer has a file of its own
	began := time.Now()
	runErr := cmd.Run()
	after = replay.Recording{Function: rec.Function, Time: began, Duration: time.Since(began)}
	b, err := os.ReadFile(answer)
	if err != nil {
		return after, errors.Join(fmt.Errorf("the handler ended without an answer"), runErr)
	}
	var got struct {
		Failed bool            `json:"failed"`
		Answer json.RawMessage `json:"answer"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return after, fmt.Errorf("read the handler's answer: %w", err)
	}
	after.Failed, after.Answer = got.Failed, got.Answer
	return after, nil
}

// localCommand returns what runs the handler, and what to tell whoever attaches a
// debugger. It puts what it needs into scratch.
func (p *project) localCommand(ctx context.Context, scratch string, rec replay.Recording, debug bool) (cmd *exec.Cmd, wait string, err error) {
	event := filepath.Join(scratch, "event.json")
	if err := os.WriteFile(event, rec.Event, 0o600); err != nil {
		return nil, "", err
	}
	switch {
	case strings.HasPrefix(p.Runtime, "python"):
		cmd, wait, err = localPython(ctx, scratch, debug)
	case strings.HasPrefix(p.Runtime, "nodejs"):
		cmd, wait, err = localNode(ctx, scratch, debug)
	case p.buildGo:
		return p.localGo(ctx, scratch, rec, debug)
	default:
		return nil, "", fmt.Errorf("%s: a function of runtime %s can't be run here; it can for Python, Node.js and Go", p.dir, p.Runtime)
	}
	if err != nil {
		return nil, "", err
	}
	cmd.Args = append(cmd.Args, event, p.Handler)
	cmd.Dir = p.dir
	return cmd, wait, nil
}

// installed returns an error that says what to do if this machine has no program.
func installed(program, how string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("there is no %s here; %s", program, how)
	}
	return nil
}

// localPython returns what runs Python code on an event: file and handler are
// still to be added.
func localPython(ctx context.Context, scratch string, debug bool) (cmd *exec.Cmd, wait string, err error) {
	if err := installed("python3", "`apt install python3` installs it"); err != nil {
		return nil, "", err
	}
	script := filepath.Join(scratch, "run.py")
	args := []string{script}
	if debug {
		if exec.CommandContext(ctx, "python3", "-c", "import debugpy").Run() != nil {
			return nil, "", errors.New("python3 has no debugpy; `python3 -m pip install debugpy` installs it")
		}
		args = []string{"-Xfrozen_modules=off", "-m", "debugpy", "--listen", debugPython, "--wait-for-client", script}
		wait = "Waiting for a debugger at " + debugPython + " (VS Code: \"Python Debugger: Remote Attach\")."
	}
	return exec.CommandContext(ctx, "python3", args...), wait, os.WriteFile(script, []byte(runPython), 0o600)
}

// localNode is as localPython, for Node.js, which has a debugger in it.
func localNode(ctx context.Context, scratch string, debug bool) (cmd *exec.Cmd, wait string, err error) {
	if err := installed("node", "`apt install nodejs` installs it"); err != nil {
		return nil, "", err
	}
	script := filepath.Join(scratch, "run.mjs")
	args := []string{script}
	if debug {
		args = []string{"--inspect-brk=" + debugNode, script}
		wait = "Waiting for a debugger at " + debugNode + " (VS Code: \"Node.js: Attach\"; Chrome: chrome://inspect)."
	}
	return exec.CommandContext(ctx, "node", args...), wait, os.WriteFile(script, []byte(runNode), 0o600)
}

// localEnv is what a handler finds in its environment besides the person's own.
func (p *project) localEnv(rec replay.Recording, scratch string) []string {
	env := []string{
		"AWS_LAMBDA_FUNCTION_NAME=" + rec.Function, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"MAYFLY_ANSWER=" + filepath.Join(scratch, "answer.json"), "MAYFLY_REQUEST_ID=" + rec.RequestID,
	}
	for name, value := range p.Env {
		env = append(env, name+"="+value)
	}
	return env
}

func indented(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

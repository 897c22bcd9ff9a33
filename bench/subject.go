package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
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
)

// subject is one handler that is measured both ways.
type subject struct {
	name    string
	runtime string
	handler string
	zip     []byte
	env     map[string]string
	plain   []string // command of the plain server, which prints its port
}

var payload = []byte(`{"name":"` + strings.Repeat("x", 1000) + `"}`)

// subjects builds what the machine has runtimes for.
func subjects(ctx context.Context, work, only string) ([]subject, error) {
	all := []struct {
		subject
		dir, file string
		needs     string
	}{
		{subject{name: "python", runtime: "python3.11", handler: "app.handler", plain: []string{"/usr/bin/python3", "bench/plain/plain.py", "bench/handlers/python"}}, "bench/handlers/python", "app.py", "/usr/bin/python3"},
		{subject{name: "node", runtime: "nodejs20.x", handler: "index.handler", plain: []string{"node", "bench/plain/plain.mjs", absolute("bench/handlers/node")}}, "bench/handlers/node", "index.mjs", "node"},
		{subject{name: "go", runtime: "provided.al2023", handler: "bootstrap", plain: []string{filepath.Join(work, "bootstrap"), "-plain"}}, work, "bootstrap", "go"},
	}
	var out []subject
	for _, s := range all {
		if !strings.Contains(s.name, only) {
			continue
		}
		if _, err := exec.LookPath(s.needs); err != nil {
			note("skipping " + s.name + ": no " + s.needs + " here")
			continue
		}
		if s.name == "go" {
			if err := buildGo(ctx, filepath.Join(work, "bootstrap"), "./bench/handlers/go"); err != nil {
				return nil, err
			}
		}
		var err error
		if s.zip, err = pack(filepath.Join(s.dir, s.file)); err != nil {
			return nil, err
		}
		out = append(out, s.subject)
	}
	if len(out) == 0 {
		return nil, errors.New("no function to measure")
	}
	return out, nil
}

// buildGo builds a package as a function's program.
func buildGo(ctx context.Context, to, pkg string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-tags=lambda.norpc", "-o", to, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, b)
	}
	return nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// pack zips one executable file.
func pack(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	h := &zip.FileHeader{Name: filepath.Base(path), Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// server is a running plain server.
type server struct {
	cmd  *exec.Cmd
	url  string
	http *http.Client
}

func startPlain(ctx context.Context, s subject) (*server, error) {
	cmd := exec.CommandContext(ctx, s.plain[0], s.plain[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &server{cmd: cmd, http: client()}
	line, err := bufio.NewReader(out).ReadString('\n')
	port, perr := strconv.Atoi(strings.TrimSpace(line))
	if err = errors.Join(err, perr); err != nil {
		return nil, errors.Join(fmt.Errorf("plain server of %s: %w", s.name, err), p.stop())
	}
	p.url = fmt.Sprintf("http://127.0.0.1:%d/", port)
	return p, nil
}

// stop ends the server by force: it has nothing to lose.
func (p *server) stop() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

func (p *server) caller() call {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(payload))
		if err != nil {
			return err
		}
		return do(p.http, req)
	}
}

// plainColdStart is the floor of a cold start: process, runtime, handler.
func plainColdStart(ctx context.Context, s subject) (time.Duration, error) {
	began := time.Now()
	p, err := startPlain(ctx, s)
	if err != nil {
		return 0, err
	}
	err = p.caller()(ctx)
	took := time.Since(began)
	return took, errors.Join(err, p.stop())
}

// client keeps a connection for each caller.
func client() *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
}

// do makes a request and reads its answer, which must be the handler's.
func do(c *http.Client, req *http.Request) error {
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Amz-Function-Error") != "" || !bytes.Contains(b, []byte(`"hello"`)) {
		return fmt.Errorf("%s: status %d, body %.200s", req.URL, resp.StatusCode, b)
	}
	return nil
}

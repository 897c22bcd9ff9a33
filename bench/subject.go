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
	name     string
	runtime  string
	handler  string
	zip      []byte
	env      map[string]string
	memory   int32         // MB
	heavy    bool          // by its imports
	off      bool          // wants no snapshots
	timeout  time.Duration // 0 for callTimeout
	plain    []string      // command of the plain server, which prints its port
	plainEnv map[string]string
}

// debianInterpreter fits Debian's Python packages.
const debianInterpreter = "/usr/bin/python3"

var payload = payloadOf(1000)

// payloadOf returns what handlers are called with, of about n bytes.
func payloadOf(n int) []byte { return []byte(`{"name":"` + strings.Repeat("x", n) + `"}`) }

// subjects builds what the machine has runtimes for: first the small ones, which
// are in all tables, then those with heavy imports.
func subjects(ctx context.Context, work, only string) ([]subject, error) {
	makers := []struct {
		name string
		make func(context.Context, string) (subject, error)
	}{
		{"python", makePython}, {"node", makeNode}, {"go", makeGo},
		{"boto3", heavyPython("boto3")}, {"pandas", heavyPython("pandas")}, {"node-sdk", makeSDK},
	}
	var out []subject
	for _, m := range makers {
		if !strings.Contains(m.name, only) {
			continue
		}
		s, err := m.make(ctx, work)
		if err != nil {
			note("skipping " + m.name + ": " + err.Error())
			continue
		}
		s.name = m.name
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("no function to measure")
	}
	return out, ctx.Err()
}

func makePython(context.Context, string) (subject, error) {
	s := subject{runtime: "python3.11", handler: "app.handler", memory: 128, plain: []string{debianInterpreter, "bench/plain/plain.py", "bench/handlers/python"}}
	if _, err := os.Stat(debianInterpreter); err != nil {
		return s, err
	}
	var err error
	s.zip, err = pack("bench/handlers/python/app.py")
	return s, err
}

// heavyPython makes a function that imports packages of Debian.
func heavyPython(name string) func(context.Context, string) (subject, error) {
	return func(ctx context.Context, work string) (subject, error) {
		dir := filepath.Join(work, name)
		s := subject{runtime: "python3.11", handler: "app.handler", memory: 512, heavy: true, plain: []string{debianInterpreter, "bench/plain/plain.py", dir},
			plainEnv: map[string]string{"LD_LIBRARY_PATH": filepath.Join(dir, "lib")}}
		if err := vendor(ctx, name, dir); err != nil {
			return s, err
		}
		var err error
		s.zip, err = packTree(dir)
		return s, err
	}
}

func makeNode(context.Context, string) (subject, error) {
	s := subject{runtime: "nodejs20.x", handler: "index.handler", memory: 128, plain: []string{"node", "bench/plain/plain.mjs", absolute("bench/handlers/node")}}
	if _, err := exec.LookPath("node"); err != nil {
		return s, err
	}
	var err error
	s.zip, err = pack("bench/handlers/node/index.mjs")
	return s, err
}

func makeSDK(ctx context.Context, work string) (subject, error) {
	dir := filepath.Join(work, "node-sdk")
	s := subject{runtime: "nodejs20.x", handler: "index.handler", memory: 512, heavy: true, plain: []string{"node", "bench/plain/plain.mjs", dir}}
	modules, err := npm(ctx)
	if err != nil {
		return s, err
	}
	if err := bundleSDK(ctx, modules, dir); err != nil {
		return s, err
	}
	s.zip, err = pack(filepath.Join(dir, "index.mjs"))
	return s, err
}

func makeGo(ctx context.Context, work string) (subject, error) {
	binary := filepath.Join(work, "bootstrap")
	s := subject{runtime: "provided.al2023", handler: "bootstrap", memory: 128, plain: []string{binary, "-plain"}}
	if err := buildGo(ctx, binary, "./bench/handlers/go"); err != nil {
		return s, err
	}
	var err error
	s.zip, err = pack(binary)
	return s, err
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
	cmd.Env = os.Environ()
	for k, v := range s.plainEnv {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
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

func (p *server) caller(payload []byte) call {
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
	err = p.caller(payload)(ctx)
	took := time.Since(began)
	return took, errors.Join(err, p.stop())
}

// client keeps a connection for each caller.
func client() *http.Client { return clientBy(net.Dialer{Timeout: 5 * time.Second}) }

func clientBy(d net.Dialer) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		DialContext:         d.DialContext,
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

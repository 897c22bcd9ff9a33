package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"golang.org/x/sys/unix"
)

// way is one of the ways to the same answer.
type way struct {
	name string
	base string // URL without its last slash
	host string // that requests name, if not the one in base
	http *http.Client
}

// request returns a request that takes the way.
func (w way) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if w.host != "" {
		req.Host = w.host
	}
	return req, nil
}

// call posts the payload.
func (w way) call(ctx context.Context) error {
	req, err := w.request(ctx, http.MethodPost, "/", payload)
	if err != nil {
		return err
	}
	return do(w.http, req)
}

// firstByte returns how long the first byte of a stream is on its way. The stream
// goes on for a while, and is read to its end.
func (w way) firstByte(ctx context.Context) (took time.Duration, err error) {
	req, err := w.request(ctx, http.MethodGet, "/stream?pause=5ms", nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	resp, err := w.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		return 0, err
	}
	took = time.Since(began)
	rest, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(first)+string(rest) != "first last") {
		err = fmt.Errorf("%s: %s, body %q", w.name, resp.Status, rest)
	}
	return took, err
}

// pastTheNode returns the way to the same server that leaves the node out: what the
// sandbox alone costs. A request that is under way until release is called keeps the
// instance from being frozen.
func (w way) pastTheNode(ctx context.Context) (past way, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	client := *w.http
	client.Timeout = 0
	get := func(path string) (*http.Response, error) {
		req, err := w.request(ctx, http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		return client.Do(req)
	}
	resp, err := get("/address")
	if err != nil {
		return past, nil, err
	}
	addr, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return past, nil, err
	}
	if _, _, err := net.SplitHostPort(string(addr)); err != nil {
		return past, nil, fmt.Errorf("%s: %s, address %q: %w", w.name, resp.Status, addr, err)
	}
	held, err := get(fmt.Sprintf("/stream?pause=%dms", longTimeout.Milliseconds()))
	if err != nil {
		return past, nil, err
	}
	release = func() {
		cancel()
		held.Body.Close()
	}
	return way{name: "the same server in its sandbox, past the node", base: "http://" + string(addr), http: clientBy(net.Dialer{Control: markAsNode})}, release, nil
}

// markAsNode has a sandbox's firewall take a connection for one of the node's, which
// are the only ones that it lets in.
func markAsNode(_, _ string, c syscall.RawConn) error {
	const mark = 0x6d66
	var bad error
	err := c.Control(func(fd uintptr) { bad = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
	return errors.Join(err, bad)
}

// program is one that answers alike as a function and as a web server.
type program struct {
	name, runtime      string
	handler, streaming string // as a function, with a URL that waits for the answer or streams it
	web                string // command of the web server
	plain              []string
	zip                []byte
}

// programs builds those that the machine has runtimes for.
func programs(ctx context.Context, work string) ([]program, error) {
	const script = "bench/handlers/web/index.mjs"
	binary := filepath.Join(work, "bootstrap")
	if err := buildGo(ctx, binary, "./bench/handlers/web"); err != nil {
		return nil, err
	}
	zip, err := pack(binary)
	if err != nil {
		return nil, err
	}
	out := []program{{
		name: "Go", runtime: "provided.al2023", handler: "bootstrap", streaming: "bootstrap",
		web: "bootstrap -web", plain: []string{binary, "-plain"}, zip: zip,
	}}
	if _, err := exec.LookPath("node"); err != nil {
		note("skipping Node.js: no node here")
		return out, nil
	}
	if zip, err = pack(script); err != nil {
		return nil, err
	}
	return append(out, program{
		name: "Node.js", runtime: "nodejs20.x", handler: "index.handler", streaming: "index.streaming",
		web: "node index.mjs -web", plain: []string{"node", script, "-plain"}, zip: zip,
	}), nil
}

// runHTTP measures functions behind their URLs, and web servers as functions,
// beside the same programs called directly.
func runHTTP(ctx context.Context, out io.Writer, o options, work string) (err error) {
	note("building the programs")
	all, err := programs(ctx, work)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, o, work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	heading(out, o, "Bench of HTTP,")
	fmt.Fprintln(out, "Each program is the same in all rows; the bench's clients, the node and the program share the machine. A failed request ends the bench, also while instances start.")
	for _, p := range all {
		if strings.Contains(strings.ToLower(p.name), o.only) {
			if err := httpTables(ctx, out, o, n, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// httpTables measures one program.
func httpTables(ctx context.Context, out io.Writer, o options, n *node, p program) (err error) {
	fmt.Fprintf(out, "\n# %s\n", p.name)
	plain, err := startPlain(ctx, subject{name: p.name, plain: p.plain})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	endpoint := func(shape, handler string, env map[string]string, mode types.InvokeMode) (way, error) {
		name := strings.ToLower(strings.TrimSuffix(p.name, ".js")) + "-" + string(mode) + fmt.Sprint(len(env))
		host, err := n.endpointOf(ctx, subject{name: name, runtime: p.runtime, handler: handler, zip: p.zip, env: env, timeout: longTimeout}, mode)
		return way{name: shape, base: n.endpoint, host: host, http: n.http}, err
	}
	direct := way{name: "direct", base: strings.TrimSuffix(plain.url, "/"), http: plain.http}
	behind, err := endpoint("function URL", p.handler, nil, types.InvokeModeBuffered)
	if err != nil {
		return err
	}
	streaming, err := endpoint("function URL, RESPONSE_STREAM", p.streaming, nil, types.InvokeModeResponseStream)
	if err != nil {
		return err
	}
	web, err := endpoint("web server as a function", p.handler, map[string]string{"MAYFLY_WEB_COMMAND": p.web}, types.InvokeModeBuffered)
	if err != nil {
		return err
	}
	past, release, err := web.pastTheNode(ctx)
	if err != nil {
		return err
	}
	defer release()
	ways := []way{direct, behind, web, past}
	if err := latencyOfWays(ctx, out, o, ways); err != nil {
		return err
	}
	if err := throughputOfWays(ctx, out, o, ways); err != nil {
		return err
	}
	return streamTable(ctx, out, o, []way{direct, streaming, web, past})
}

// endpointOf makes a function with a public URL and returns its host.
func (n *node) endpointOf(ctx context.Context, s subject, mode types.InvokeMode) (string, error) {
	if err := n.create(ctx, s); err != nil {
		return "", err
	}
	made, err := n.api.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: &s.name, AuthType: types.FunctionUrlAuthTypeNone, InvokeMode: mode})
	if err != nil {
		return "", err
	}
	u, err := url.Parse(*made.FunctionUrl)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// inTurns makes n calls each way, in turns, and returns the latencies of each.
func inTurns(ctx context.Context, calls []call, n, turn int) ([]series, error) {
	took := make([]series, len(calls))
	for _, c := range calls { // warms up
		if _, err := sequence(ctx, c, turn); err != nil {
			return nil, err
		}
	}
	for done := 0; done < n; done += turn {
		for i, c := range calls {
			s, err := sequence(ctx, c, min(turn, n-done))
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], s...)
		}
	}
	return took, nil
}

// latencyOfWays measures with one client.
func latencyOfWays(ctx context.Context, out io.Writer, o options, ways []way) error {
	note("latency")
	var calls []call
	for _, w := range ways {
		calls = append(calls, w.call)
	}
	took, err := inTurns(ctx, calls, o.warm, 250)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n## Latency, 1 KB payload, %d requests from one client\n\nAll in turns of 250 requests. Overhead: difference of the medians.\n\n", o.warm)
	writeLatency(out, ways, took)
	return nil
}

func writeLatency(out io.Writer, ways []way, took []series) {
	fmt.Fprint(out, "| | p50 ms | p99 ms | overhead p50 ms |\n|---|---|---|---|\n")
	for i, w := range ways {
		fmt.Fprintf(out, "| %s | %.2f | %.2f | **%.2f** |\n", w.name, took[i].q(.5), took[i].q(.99), took[i].q(.5)-took[0].q(.5))
	}
}

// throughputOfWays measures with many.
func throughputOfWays(ctx context.Context, out io.Writer, o options, ways []way) error {
	fmt.Fprintf(out, "\n## Throughput, requests per second over %s\n\n| clients |", o.span)
	for i, w := range ways {
		fmt.Fprintf(out, " %s |", w.name)
		if i > 0 {
			fmt.Fprint(out, " ratio |")
		}
	}
	fmt.Fprint(out, "\n|---|"+strings.Repeat("---|", 2*len(ways)-1)+"\n")
	for _, clients := range o.callers {
		fmt.Fprintf(out, "| %d |", clients)
		var base float64
		for i, w := range ways {
			note(fmt.Sprintf("throughput: %s with %d clients", w.name, clients))
			if _, err := crowd(ctx, w.call, clients, o.span); err != nil { // instances start here
				return err
			}
			got, err := crowd(ctx, w.call, clients, o.span)
			if err != nil {
				return err
			}
			if i == 0 {
				base = got
				fmt.Fprintf(out, " %.0f |", got)
				continue
			}
			fmt.Fprintf(out, " %.0f | %.2f |", got, got/base)
		}
		fmt.Fprintln(out)
	}
	return nil
}

// streamTable measures how long the first byte of a stream is on its way.
func streamTable(ctx context.Context, out io.Writer, o options, ways []way) error {
	note("first streamed byte")
	took := make([]series, len(ways))
	n := max(1, o.warm/10)
	const warmUp = 10
	for k := range warmUp + n {
		for i, w := range ways {
			d, err := w.firstByte(ctx)
			if err != nil {
				return err
			}
			if k >= warmUp {
				took[i].add(d)
			}
		}
	}
	fmt.Fprintf(out, "\n## First streamed byte, %d streams from one client, one after another\n\nFrom the request to the first byte of a body whose next one is written 5 ms later.\n\n", n)
	writeLatency(out, ways, took)
	return nil
}

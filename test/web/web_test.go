// Package web runs web servers, as they are, as functions of a real node.
package web

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/browsertest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

// site is a web server that is deployed.
type site struct {
	t    testing.TB
	n    *mayflytest.Node
	c    *lambdatest.Client
	name string
	base string
}

// deploy makes a function of a package and gives it a URL.
func deploy(t testing.TB, n *mayflytest.Node, name, runtime string, pkg []byte, env map[string]string, change ...func(*lambda.CreateFunctionInput)) *site {
	t.Helper()
	c := lambdatest.New(n)
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(lambdatest.Role), Runtime: types.Runtime(runtime), Handler: aws.String("bootstrap"),
		MemorySize: aws.Int32(256), Timeout: aws.Int32(30), Code: &types.FunctionCode{ZipFile: pkg},
		Environment: &types.Environment{Variables: env},
	}
	for _, f := range change {
		f(in)
	}
	if _, err := c.CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	c.Active(t, name)
	out, err := c.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: &name, AuthType: types.FunctionUrlAuthTypeNone})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, n: n, c: c, name: name, base: strings.TrimSuffix(*out.FunctionUrl, "/")}
}

// client reaches hosts below localhost without asking for their names.
var client = &http.Client{Transport: &http.Transport{
	DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(addr)
		var d net.Dialer
		return d.DialContext(ctx, "tcp", "127.0.0.1:"+port)
	},
}}

func (s *site) do(method, path, body string) (status int, header http.Header, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// logged waits until the server's log holds a text.
func (s *site) logged(text string) {
	s.t.Helper()
	c := cloudwatchlogs.New(cloudwatchlogs.Options{Region: s.n.Region, BaseEndpoint: &s.n.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(s.n.AccessKey, s.n.SecretKey, "")})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := c.FilterLogEvents(s.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/" + s.name)})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, e := range out.Events {
			if strings.Contains(*e.Message, text) {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q is not in the log", text)
		}
	}
}

// pack zips the files of a directory.
func pack(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: rel, Method: zip.Deflate}
		h.SetMode(info.Mode())
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err := joinErr(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func joinErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// server builds testdata/server once.
var server = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "bootstrap"), "./testdata/server")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "bootstrap"))
})

func goSite(t testing.TB, n *mayflytest.Node, name string, env map[string]string, change ...func(*lambda.CreateFunctionInput)) *site {
	t.Helper()
	program, err := server()
	if err != nil {
		t.Fatal(err)
	}
	return deploy(t, n, name, "provided.al2023", lambdatest.Zip(t, "bootstrap", string(program)), env, change...)
}

func TestUnmodifiedServerIsAFunction(t *testing.T) {
	n := mayflytest.Start(t)
	s := goSite(t, n, "site", map[string]string{"MAYFLY_WEB_COMMAND": "bootstrap", "AWS_LWA_READINESS_CHECK_PATH": "/healthz"})
	host := strings.TrimPrefix(s.base, "http://")

	t.Run("request and answer pass as they are", func(t *testing.T) {
		status, header, body := s.do("PUT", "/echo/a%2Fb?q=1&q=2", "the body")
		if want := "PUT /echo/a%2Fb?q=1&q=2 " + host + " http the body"; status != http.StatusTeapot || body != want || header.Get("X-Calls") != "1" {
			t.Errorf("status %d, calls %s, body %q, want %q", status, header.Get("X-Calls"), body, want)
		}
	})
	t.Run("many requests at one time in one instance", func(t *testing.T) {
		const many = 20
		var wg sync.WaitGroup
		for range many {
			wg.Go(func() {
				if status, _, body := s.do("GET", fmt.Sprint("/meet?n=", many), ""); status != 200 || body != fmt.Sprint(many) {
					t.Errorf("status %d: %s were there at one time", status, body)
				}
			})
		}
		wg.Wait()
	})
	t.Run("events are posted", func(t *testing.T) {
		r, err := s.c.Call(t.Context(), "site", map[string]int{"a": 1})
		if err != nil || r.Failure != "" || !strings.HasPrefix(r.Payload, `{"event":{"a":1},"id":"`) {
			t.Errorf("answer %+v, %v", r, err)
		}
		if r, err = s.c.Call(t.Context(), "site", "fail"); err != nil || r.Failure != "Unhandled" {
			t.Errorf("answer of a failure %+v, %v", r, err)
		}
	})
	t.Run("server-sent events arrive as they are written, and leaving is told", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", s.base+"/sse", nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		line, err := bufio.NewReader(res.Body).ReadString('\n')
		if line != "data: first\n" || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("first line %q, %v, header %v", line, err, res.Header)
		}
		cancel()
		s.logged("the reader left")
	})
	t.Run("upgrades pass", func(t *testing.T) {
		u, err := url.Parse(s.base)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", "127.0.0.1:"+u.Port())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", u.Host)
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%+v, %v", res, err)
		}
		for _, line := range []string{"one\n", "two\n"} {
			fmt.Fprint(conn, line)
			if got, err := in.ReadString('\n'); got != "echo "+line {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	})
	t.Run("a server that ends is replaced", func(t *testing.T) {
		if status, _, _ := s.do("GET", "/exit", ""); status != http.StatusBadGateway {
			t.Errorf("status %d", status)
		}
		if status, header, _ := s.do("GET", "/echo/", ""); status != http.StatusTeapot || header.Get("X-Calls") != "1" {
			t.Errorf("status %d, calls %s", status, header.Get("X-Calls"))
		}
	})
	t.Run("new code is told to the old, under load", func(t *testing.T) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if status, _, body := s.do("POST", "/echo/", "x"); status != http.StatusTeapot {
							t.Errorf("status %d while new code comes: %s", status, body)
						}
					}
				}
			})
		}
		s.c.SetEnv(t, "site", map[string]string{"MAYFLY_WEB_COMMAND": "bootstrap", "NEW": "1"})
		close(stop)
		wg.Wait()
		s.logged("told to end") // SIGTERM came before the old instance's end
	})
}

func TestTimeLimitOfOneRequestLeavesTheOthers(t *testing.T) {
	n := mayflytest.Start(t)
	s := goSite(t, n, "slow", map[string]string{"MAYFLY_WEB_COMMAND": "bootstrap"}, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(1) })
	s.do("GET", "/echo/", "")
	if status, _, _ := s.do("GET", "/meet?n=2", ""); status != http.StatusGatewayTimeout {
		t.Errorf("status %d", status)
	}
	if status, header, _ := s.do("GET", "/echo/", ""); status != http.StatusTeapot || header.Get("X-Calls") != "2" {
		t.Errorf("status %d, calls %s", status, header.Get("X-Calls"))
	}
}

func TestPackagesForTheWebAdapterRunAsTheyAre(t *testing.T) {
	n := mayflytest.Start(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"run.sh": "#!/bin/sh\nexec node index.js\n",
		"index.js": `
const http = require('http');
http.createServer((req, res) => res.end('hello from ' + req.url)).listen(process.env.PORT, '127.0.0.1');`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := deploy(t, n, "adapted", "nodejs20.x", pack(t, dir), map[string]string{
		"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "AWS_LWA_PORT": "7000",
	}, func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("run.sh") })
	if status, _, body := s.do("GET", "/path", ""); status != 200 || body != "hello from /path" {
		t.Errorf("status %d: %s", status, body)
	}
}

// express packs the application in node, whose packages npm has to install.
func express(t testing.TB) []byte {
	t.Helper()
	if _, err := os.Stat("node/node_modules/express"); err != nil {
		t.Skip("Express is not installed: npm ci --prefix test/web/node, or run make test, which does")
	}
	return pack(t, "node")
}

func TestUnmodifiedExpressScalesFromZero(t *testing.T) {
	s := deploy(t, mayflytest.Start(t), "express", "nodejs20.x", express(t), map[string]string{"MAYFLY_WEB_COMMAND": "node server.js"})
	if status, header, body := s.do("GET", "/hello/you?a=1", ""); status != 200 || body != `{"hello":"you","query":{"a":"1"}}` || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		t.Errorf("status %d, header %v: %s", status, header, body)
	}
	t.Run("WebSocket", func(t *testing.T) {
		u, err := url.Parse(s.base)
		if err != nil {
			t.Fatal(err)
		}
		d := ws.Dialer{NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", "127.0.0.1:"+u.Port())
		}}
		conn, _, _, err := d.Dial(t.Context(), "ws://"+u.Host+"/ws")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, text := range []string{"one", strings.Repeat("x", 100_000)} {
			if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := wsutil.ReadServerText(conn); err != nil || string(got) != text {
				t.Fatalf("%d bytes came back as %d, %v", len(text), len(got), err)
			}
		}
	})
	t.Run("a browser reads events as they are written", func(t *testing.T) {
		tab := browsertest.Open(t)
		second := `//li[text()="two"]`
		tab.Do(t, chromedp.Navigate(s.base+"/"), chromedp.WaitVisible(second, chromedp.BySearch))
		if status, _, _ := s.do("POST", "/go", ""); status != 200 { // only now does the server go on
			t.Errorf("status %d", status)
		}
		tab.Do(t, chromedp.WaitVisible(`//li[text()="three"]`, chromedp.BySearch))
	})
}

func TestUnmodifiedFlaskScalesFromZero(t *testing.T) {
	const packages = "/usr/lib/python3/dist-packages"
	if _, err := os.Stat(packages + "/flask"); err != nil {
		t.Skip("Flask is not installed: apt-get install python3-flask, or run make test, which does")
	}
	n := mayflytest.Start(t)
	dir := t.TempDir()
	app := `
import os
from flask import Flask
app = Flask(__name__)

@app.route("/hello/<name>")
def hello(name):
    return {"hello": name}

app.run(port=int(os.environ["PORT"]))
`
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(packages, name))); err != nil {
			t.Fatal(err)
		}
	}
	s := deploy(t, n, "flask", "python3.11", pack(t, dir), map[string]string{"MAYFLY_WEB_COMMAND": "python3 app.py"})
	if status, _, body := s.do("GET", "/hello/you", ""); status != 200 || !strings.Contains(body, `"hello":"you"`) {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestServerThatCanNotStartIsABadGateway(t *testing.T) {
	n := mayflytest.Start(t)
	s := goSite(t, n, "nothing", map[string]string{"MAYFLY_WEB_COMMAND": "no-such-program"})
	if status, _, _ := s.do("GET", "/", ""); status != http.StatusBadGateway {
		t.Errorf("status %d", status)
	}
	r, err := s.c.Call(t.Context(), "nothing", nil)
	if err != nil || !strings.Contains(r.Payload, "Couldn't find no-such-program") {
		t.Errorf("answer %+v, %v", r, err)
	}
}

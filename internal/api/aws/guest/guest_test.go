package guest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// isolated are the paths of an isolating driver.
var isolated = sandbox.Paths{Task: "/var/task", Runtime: "/var/runtime", Lang: "/var/lang", Tmp: "/tmp"}

func TestProcessesAndEnvironmentsAreLambdas(t *testing.T) {
	for name, c := range map[string]struct {
		resolved runtimes.Runtime
		version  function.Version
	}{
		"python": {
			runtimes.Runtime{Family: runtimes.Python, Command: "python3.11"},
			function.Version{Function: "orders", Version: "$LATEST", Config: function.Config{Runtime: "python3.13", Handler: "app.handler", MemoryMB: 512}},
		},
		"node": {
			runtimes.Runtime{Family: runtimes.Node, Command: "node"},
			function.Version{Function: "orders", Version: "7", Config: function.Config{Runtime: "nodejs22.x", Handler: "index.handler", MemoryMB: 128}},
		},
		"provided": {
			runtimes.Runtime{Family: runtimes.Provided},
			function.Version{Function: "orders", Version: "$LATEST", Config: function.Config{Runtime: "provided.al2023", Handler: "bootstrap", MemoryMB: 128, Env: map[string]string{
				"TABLE": "t", "PATH": "/own", "LANG": "C", "AWS_REGION": "eu-west-1", "_HANDLER": "x", "AWS_LAMBDA_LOG_FORMAT": "JSON",
			}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := testGuest(t, c.resolved)
			p, err := g.Process(&c.version, sandbox.Birth{ID: "0123456789abcdef0123456789abcdef"}, isolated)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(p.Args, " ") + "\n" + p.Dir + "\n" + strings.Join(p.Env, "\n") + "\n"
			text = regexp.MustCompile(`\d{4}/\d\d/\d\d/`).ReplaceAllString(text, "YYYY/MM/DD/")
			golden(t, "process-"+name, text)
		})
	}
}

func TestCustomRuntimesAreServedByADriverThatCan(t *testing.T) {
	serving := isolated
	serving.Serves = "127.0.0.1:9001"
	for family, serves := range map[runtimes.Family]bool{runtimes.Provided: true, runtimes.Python: false, runtimes.Node: false} {
		p, err := testGuest(t, runtimes.Runtime{Family: family}).Process(&function.Version{}, sandbox.Birth{ID: "i"}, serving)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"/var/runtime/agent", "start", serving.Serves}
		if served := slices.Equal(p.Args, want) && p.Serve == testLimit; served != serves || !serves && p.Serve != 0 {
			t.Errorf("%s: %q, %d bytes", family, p.Args, p.Serve)
		}
	}
}

func TestProcessSaysWhyAnInstanceWasStarted(t *testing.T) {
	g := testGuest(t, runtimes.Runtime{Family: runtimes.Provided})
	for birth, want := range map[sandbox.Birth]string{
		{ID: "i"}:                    "on-demand",
		{ID: "i", Provisioned: true}: "provisioned-concurrency",
		{ID: "i", Saved: true}:       "snap-start",
	} {
		p, err := g.Process(&function.Version{}, birth, isolated)
		if err != nil || !slices.Contains(p.Env, "AWS_LAMBDA_INITIALIZATION_TYPE="+want) {
			t.Errorf("%+v: %v, %v; want %s", birth, p.Env, err, want)
		}
	}
}

func TestVersionWithSnapStartSaysSo(t *testing.T) {
	snapped := function.Config{Snapshot: function.SnapshotPublished, Runtime: "python3.13"}
	for _, c := range []struct {
		v     function.Version
		birth sandbox.Birth
		want  string
	}{
		{function.Version{Config: snapped, Version: "1"}, sandbox.Birth{ID: "i"}, "snap-start"},
		{function.Version{Config: snapped, Version: "1"}, sandbox.Birth{ID: "i", Provisioned: true}, "provisioned-concurrency"},
		{function.Version{Config: snapped, Version: function.Latest}, sandbox.Birth{ID: "i"}, "on-demand"},
		// A custom runtime would wait in restore/next.
		{function.Version{Config: function.Config{Snapshot: function.SnapshotPublished, Runtime: "provided.al2023"}, Version: "1"}, sandbox.Birth{ID: "i"}, "on-demand"},
	} {
		if got := testGuest(t, runtimes.Runtime{}).Fresh(&c.v, c.birth); !slices.Contains(got, "AWS_LAMBDA_INITIALIZATION_TYPE="+c.want) {
			t.Errorf("%s %s, %+v: %v, want %s", c.v.Runtime, c.v.Version, c.birth, got, c.want)
		}
	}
}

func TestProcessPassesOnThatARuntimeIsMissing(t *testing.T) {
	missing := errs.Newf(errs.Unsupported, "no such runtime")
	g, err := New(Config{Account: "0", Region: "r", Resolve: func(string) (runtimes.Runtime, error) { return runtimes.Runtime{}, missing }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Process(&function.Version{Function: "f"}, sandbox.Birth{ID: "i"}, isolated); !errs.Is(err, errs.Unsupported) {
		t.Errorf("error %v", err)
	}
	if _, err := New(Config{}); !errs.Is(err, errs.Invalid) {
		t.Errorf("an empty Config gives %v", err)
	}
}

func TestHeadersAreTheRuntimeAPIs(t *testing.T) {
	g := testGuest(t, runtimes.Runtime{})
	v := &function.Version{Function: "orders"}
	deadline := time.UnixMilli(1700000000123)
	const id, arn = "Lambda-Runtime-Aws-Request-Id: r\r\nLambda-Runtime-Deadline-Ms: 1700000000123\r\n", "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:"
	for name, c := range map[string]struct {
		call sandbox.Call
		want string
	}{
		"nothing":       {sandbox.Call{}, id + arn + "orders\r\n"},
		"name":          {sandbox.Call{InvokedName: "orders"}, id + arn + "orders\r\n"},
		"qualified":     {sandbox.Call{InvokedName: "orders:live"}, id + arn + "orders:live\r\n"},
		"partial":       {sandbox.Call{InvokedName: "000000000000:function:orders:1"}, id + arn + "orders:1\r\n"},
		"ARN":           {sandbox.Call{InvokedName: "arn:aws:lambda:eu-west-1:1:function:orders"}, id + "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:1:function:orders\r\n"},
		"all":           {sandbox.Call{TraceID: "Root=1", ClientContext: "{}", Identity: `{"a":1}`}, id + arn + "orders\r\nLambda-Runtime-Trace-Id: Root=1\r\nLambda-Runtime-Client-Context: {}\r\nLambda-Runtime-Cognito-Identity: {\"a\":1}\r\n"},
		"several lines": {sandbox.Call{ClientContext: "{\r\n\"a\": 1\n}", TraceID: "x\r\nForged: y"}, id + arn + "orders\r\nLambda-Runtime-Trace-Id: x  Forged: y\r\nLambda-Runtime-Client-Context: {  \"a\": 1 }\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c.call.RequestID, c.call.Deadline = "r", deadline
			if got := string(g.Header([]byte("x"), v, &c.call)); got != "x"+c.want {
				t.Errorf("got  %q\nwant %q", got, "x"+c.want)
			}
		})
	}
}

func TestHeaderAllocatesNothingOnTheWarmPath(t *testing.T) {
	g := testGuest(t, runtimes.Runtime{})
	v := &function.Version{Function: "orders"}
	c := &sandbox.Call{RequestID: "r", Deadline: time.UnixMilli(1), InvokedName: "orders", TraceID: "Root=1"}
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { buf = g.Header(buf[:0], v, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFaultsHaveLambdasWords(t *testing.T) {
	g := testGuest(t, runtimes.Runtime{})
	const id = "11111111-2222-3333-4444-555555555555"
	var b strings.Builder
	for _, f := range []sandbox.Fault{
		{RequestID: id, Kind: sandbox.TimedOut, Limit: 3 * time.Second},
		{RequestID: id, Kind: sandbox.TimedOut, Limit: 1500 * time.Millisecond},
		{Kind: sandbox.InitTimedOut, Limit: 10 * time.Second},
		{RequestID: id, Kind: sandbox.OutOfMemory, Exit: sandbox.Exit{Signal: 9, OOM: true}},
		{RequestID: id, Kind: sandbox.Exited},
		{RequestID: id, Kind: sandbox.Exited, Exit: sandbox.Exit{Code: 1}},
		{RequestID: id, Kind: sandbox.Exited, Exit: sandbox.Exit{Signal: 9}},
		{RequestID: id, Kind: sandbox.Exited, Exit: sandbox.Exit{Signal: 11}},
		{Kind: sandbox.Exited, Exit: sandbox.Exit{Code: 2}},
		{RequestID: id, Kind: sandbox.ResponseTooLarge, Size: 7 << 20, Max: DefaultMaxResponse},
	} {
		body, errorType := g.Fault(f)
		b.WriteString(errorType + " " + string(body) + "\n")
	}
	golden(t, "faults", b.String())
}

func TestReservedNamesAreLambdas(t *testing.T) {
	for name, want := range map[string]bool{"_HANDLER": true, "AWS_REGION": true, "AWS_SESSION_TOKEN": true, "PATH": false, "TZ": false, "AWS_LAMBDA_LOG_FORMAT": false} {
		if Reserved(name) != want {
			t.Errorf("Reserved(%q) is %v", name, !want)
		}
	}
}

func TestFilesHoldWhatProcessesStart(t *testing.T) {
	for _, family := range []runtimes.Family{runtimes.Python, runtimes.Node, runtimes.Provided} {
		files := Files(family)
		p, err := testGuest(t, runtimes.Runtime{Family: family, Command: "c"}).Process(&function.Version{}, sandbox.Birth{ID: "i"}, isolated)
		if err != nil {
			t.Fatal(err)
		}
		for _, arg := range p.Args {
			if name, ok := strings.CutPrefix(arg, "/var/runtime/"); ok && len(files[name]) == 0 {
				t.Errorf("%s: %s is started but not among the files", family, name)
			}
		}
	}
	if !strings.HasPrefix(string(Agent()), "\x7fELF") {
		t.Error("the agent is no executable")
	}
}

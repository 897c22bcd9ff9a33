// Package fault kills nodes, and parts of them, and checks what is left: every
// event that was accepted runs, nothing is metered twice, and the machine is as
// it was.
package fault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

// binary is the mayfly program under test, built by buildAndRun.
var binary string

func TestMain(m *testing.M) {
	hostnet.Run(func() { os.Exit(buildAndRun(m)) })
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mayfly-fault-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "mayfly")
	build := exec.Command("go", "build", "-o", binary, "github.com/mayfly-dev/mayfly/cmd/mayfly")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build mayfly: %v\n%s", err, out))
	}
	return m.Run()
}

// process is a node in a process of its own.
type process struct {
	dir      string
	cmd      *exec.Cmd
	stderr   *buffer
	ended    chan struct{} // closed when it has ended
	endpoint string
	keys     aws.CredentialsProvider
	lambda   *lambda.Client
}

// launch starts a node on dir and waits until it answers.
func launch(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := run(t, dir, flags...)
	eventually(t, "the node answers", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("the node ended: %v\n%s", p.cmd.ProcessState, p.stderr)
		default:
		}
		var at struct {
			Endpoint string
			PID      int
		}
		b, err := os.ReadFile(filepath.Join(dir, "node.json"))
		if err != nil || json.Unmarshal(b, &at) != nil || at.PID != p.cmd.Process.Pid {
			return false // a dead node's file, perhaps
		}
		p.endpoint = at.Endpoint
		resp, err := http.Get(p.endpoint + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	env := exec.Command(binary, "env", "--json", "--data-dir", dir)
	out, err := env.Output()
	ok(t, err)
	var vars map[string]string
	ok(t, json.Unmarshal(out, &vars))
	p.keys = credentials.NewStaticCredentialsProvider(vars["AWS_ACCESS_KEY_ID"], vars["AWS_SECRET_ACCESS_KEY"], "")
	p.lambda = lambda.New(lambda.Options{Region: vars["AWS_REGION"], BaseEndpoint: &p.endpoint, Credentials: p.keys, RetryMaxAttempts: 1})
	return p
}

// run starts a node on dir.
func run(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := &process{dir: dir, stderr: &buffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(binary, append([]string{"up", "--data-dir", dir, "--listen", "127.0.0.1:0"}, flags...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	ok(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of node %d:\n%s", p.cmd.Process.Pid, p.stderr)
		}
	})
	return p
}

// kill ends the node as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop ends the node in its orderly way and checks that it says so.
func (p *process) stop(t *testing.T) {
	t.Helper()
	ok(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("the node did not end within a minute of SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the node ended with status %d after SIGTERM, want 0", code)
	}
}

// record is what the node metered of one attempt to run a call.
type record struct {
	ID      string
	Attempt int
	Start   time.Time
	Outcome string
}

// run names the run that a record is of. A killed node's calls may be run again by the
// next with the same attempt, but never at the same time.
func (r record) run() string {
	return fmt.Sprintf("%s/%d of %s", r.ID, r.Attempt, r.Start.Format(time.RFC3339Nano))
}

// records returns all that the node has metered.
func (p *process) records(t *testing.T) []record {
	t.Helper()
	var answer struct{ Records []record }
	ok(t, json.Unmarshal(p.admin(t, "records?limit=10000"), &answer))
	return answer.Records
}

// admin returns the answer of the node's own API to a path.
func (p *process) admin(t *testing.T, path string) []byte {
	t.Helper()
	status, b := p.ask(t, path)
	if status != http.StatusOK {
		t.Fatalf("%s: status %d, %s", path, status, b)
	}
	return b
}

// ask returns the status too, whatever it is.
func (p *process) ask(t *testing.T, path string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.endpoint+"/_mayfly/v1/"+path, nil)
	ok(t, err)
	keys, err := p.keys.Retrieve(t.Context())
	ok(t, err)
	empty := sha256.Sum256(nil)
	ok(t, v4.NewSigner().SignHTTP(t.Context(), keys, req, hex.EncodeToString(empty[:]), "mayfly", p.lambda.Options().Region, time.Now()))
	resp, err := http.DefaultClient.Do(req)
	ok(t, err)
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	ok(t, err)
	return resp.StatusCode, answer
}

// groups returns the directories of the control groups that the node made, by
// what its sandboxes are in. There must be a sandbox.
func (p *process) groups(t *testing.T) (dirs []string) {
	t.Helper()
	for _, pid := range sentries(t, strconv.Itoa(p.cmd.Process.Pid)) {
		b, err := os.ReadFile("/proc/" + pid + "/cgroup")
		if err != nil {
			continue // ended meanwhile
		}
		for line := range strings.Lines(string(b)) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if node, _, found := strings.Cut(strings.TrimPrefix(f[2], "/"), "/"); found && strings.Contains(node, "mayfly") {
				dirs = append(dirs, filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(f[1], "name="), node))
			}
		}
	}
	if len(dirs) == 0 {
		t.Error("the node's sandboxes are in no control groups")
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// gone fails the test if one of the paths exists.
func gone(t *testing.T, paths []string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// traces lists what a node may leave behind on this machine, but for its
// control groups.
func traces(t *testing.T) (all []string) {
	t.Helper()
	for _, pid := range sentries(t, "") {
		all = append(all, "process "+pid)
	}
	links, err := netlink.LinkList()
	ok(t, err)
	for _, l := range links {
		all = append(all, "link "+l.Attrs().Name)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	ok(t, err)
	for _, r := range routes {
		all = append(all, "route "+r.String())
	}
	conn, err := nftables.New()
	ok(t, err)
	tables, err := conn.ListTables()
	ok(t, err)
	for _, table := range tables {
		all = append(all, "table "+table.Name)
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/sys/net/ipv4/ip_forward"} {
		b, err := os.ReadFile(file)
		ok(t, err)
		all = append(all, file+": "+string(b))
	}
	return all
}

// sentries returns the processes of sandboxes that come from the binary under
// test; with a parent, only its children.
func sentries(t *testing.T, parent string) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	ok(t, err)
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if strings.HasPrefix(exe, binary) && bytes.HasPrefix(cmdline, []byte("runsc")) && (parent == "" || fields[1] == parent) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// outside is a machine beyond the host, at the end of its default route, where
// functions report to. It outlives nodes.
type outside struct {
	mu    sync.Mutex
	seen  map[string]int // reports by word
	first []string       // words in the order of their first reports
	fresh chan struct{}  // closed and replaced at each report
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{seen: map[string]int{}, fresh: make(chan struct{})}
	go o.serve(hostnet.New(t).Listen(t, hostnet.Outside+":7000"))
	return o
}

// serve notes each connection's words, a line each, and answers.
func (o *outside) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			words, err := io.ReadAll(c)
			if err != nil || len(words) == 0 {
				return
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			for word := range strings.SplitSeq(string(words), "\n") {
				if o.seen[word]++; o.seen[word] == 1 {
					o.first = append(o.first, word)
				}
			}
			close(o.fresh)
			o.fresh = make(chan struct{})
			io.WriteString(c, "noted")
		}()
	}
}

// count returns how many words were reported.
func (o *outside) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

// await waits until done says so of the reports seen.
func (o *outside) await(t *testing.T, what string, limit time.Duration, done func(seen map[string]int) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		o.mu.Lock()
		fresh, is := o.fresh, done(o.seen)
		o.mu.Unlock()
		if is {
			return
		}
		select {
		case <-fresh:
		case <-ctx.Done():
			t.Errorf("after %s it is still not so that %s", limit, what)
			return
		}
	}
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits for something that no channel tells of.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s it is still not so that %s", what)
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

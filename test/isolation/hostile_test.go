package isolation

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

// All attacks run on one node, one after the other, so that what one of them
// broke would show in the next.
func TestHostileFunctionsAreContained(t *testing.T) {
	// As clouds have it, there is a metadata service.
	machine := hostnet.New(t, "169.254.169.254/32")
	go greet(machine.Listen(t, hostnet.Outside+":8000"), "outside")
	go greet(machine.Listen(t, "169.254.169.254:80"), "metadata")
	p := newPlace(t)
	for _, group := range []struct {
		name string
		run  func(*testing.T, *place)
	}{
		{"secrets", secrets},
		{"read-only places", readOnlyPlaces},
		{"exhaustion", exhaustion},
		{"time", timeIsTheHosts},
		{"processes", processes},
		{"network", network},
		{"link", link},
		{"custom runtime", customRuntime},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, p) })
	}
	ok(t, p.node.Stop())
	if left := sentries(t); len(left) > 0 {
		t.Errorf("processes of sandboxes after the node's end: %v", left)
	}
}

func secrets(t *testing.T, p *place) {
	name := p.deploy(t, function{name: "thief"})
	token := uuid.NewString()
	var canaries []string
	for _, dir := range []string{"/root", "/home", "/etc", "/var/tmp", "/tmp", "/opt", "/srv", p.node.DataDir} {
		path := filepath.Join(dir, "canary-"+token)
		if os.WriteFile(path, []byte(token), 0o644) == nil {
			t.Cleanup(func() { os.Remove(path) })
			canaries = append(canaries, path)
		}
	}
	if len(canaries) < 4 {
		t.Fatalf("only %v could be written", canaries)
	}

	p.attack(t, "read them by name", func(t *testing.T) {
		paths := append(canaries, "/etc/shadow", "/root/.ssh", "/root/.bash_history", "/etc/ssh", p.node.DataDir,
			filepath.Join(p.node.DataDir, "keys.json"), "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/proc/kcore", "/proc/kmsg")
		for path, got := range call[map[string]any](t, p, name, "read", "paths", paths) {
			if got == true {
				t.Errorf("%s can be read", path)
			}
		}
	})
	p.attack(t, "search everywhere", func(t *testing.T) {
		got := call[struct {
			Found []string
			Seen  int
		}](t, p, name, "search", "needles", []string{token, p.node.SecretKey, "neighbour-secret-4711"})
		if len(got.Found) > 0 {
			t.Errorf("found %q", got.Found)
		}
		if got.Seen < 500 {
			t.Errorf("the search saw only %d files", got.Seen)
		}
	})
	p.attack(t, "who it is", func(t *testing.T) {
		got := call[struct {
			UID, GID int
			Groups   []int
			Env      map[string]string
		}](t, p, name, "whoami")
		if got.UID == 0 || got.GID == 0 {
			t.Errorf("it runs as user %d, group %d", got.UID, got.GID)
		}
		for k, v := range got.Env {
			if strings.Contains(v, p.node.SecretKey) || strings.Contains(v, p.node.DataDir) {
				t.Errorf("the environment tells a secret of the node: %s=%s", k, v)
			}
		}
	})
}

func readOnlyPlaces(t *testing.T, p *place) {
	name := p.deploy(t, function{name: "vandal"})
	p.attack(t, "write everywhere", func(t *testing.T) {
		got := call[map[string][]string](t, p, name, "write",
			"places", []string{"/", "/var/task", "/var/runtime", "/var/lang", "/var", "/etc", "/usr", "/proc", "/sys", "/run"},
			"files", []string{"/var/task/main.py", "/var/runtime/bootstrap.py", "/etc/passwd", "/etc/resolv.conf", "/etc/hosts"})
		for place, results := range got {
			for i, r := range results {
				if strings.HasPrefix(r, "got:") {
					t.Errorf("attempt %d on %s succeeded: %s", i, place, r)
				}
			}
		}
	})
	p.attack(t, "look for setuid programs", func(t *testing.T) {
		if got := call[[]string](t, p, name, "setuid_files"); len(got) > 0 {
			t.Errorf("found %q", got)
		}
	})
}

type amount struct {
	N, MB int
	Error string
}

func exhaustion(t *testing.T, p *place) {
	p.attack(t, "memory", func(t *testing.T) {
		name := p.deploy(t, function{name: "glutton", memoryMB: 128})
		p.call(t, name, do("exhaust_memory")).failsWith(t, "Runtime.OutOfMemory")
		call[map[string]any](t, p, name, "whoami") // a new instance
	})
	p.attack(t, "files", func(t *testing.T) {
		got := call[amount](t, p, p.deploy(t, function{name: "hoarder"}), "exhaust_files")
		if got.Error != "EMFILE" || got.N > 1024 {
			t.Errorf("opened %d files, then %q, want at most 1024, then EMFILE", got.N, got.Error)
		}
	})
	p.attack(t, "processes", func(t *testing.T) {
		// Each takes some of the memory limit too, for gVisor's part of it.
		name := p.deploy(t, function{name: "breeder", memoryMB: 1024, timeout: 60})
		r := p.call(t, name, do("fork_bomb"))
		if r.failure != "" {
			r.failsWith(t, "Runtime.OutOfMemory")
			return
		}
		var got amount
		if r.into(t, &got); got.Error != "EAGAIN" || got.N > 1024 {
			t.Errorf("made %d processes, then %q, want at most 1024, then EAGAIN", got.N, got.Error)
		}
	})
	p.attack(t, "processes without an end", func(t *testing.T) {
		name := p.deploy(t, function{name: "locust", memoryMB: 512, timeout: 3})
		before := hostProcesses(t)
		p.call(t, name, do("wild_fork_bomb")).failsWith(t, "Task timed out after 3.00 seconds", "Runtime.OutOfMemory")
		const spares = 30 // sandboxes that the pool boots meanwhile, and what else the machine does
		eventually(t, "they are gone", func() bool { return hostProcesses(t) <= before+spares })
	})
	p.attack(t, "threads", func(t *testing.T) {
		got := call[amount](t, p, p.deploy(t, function{name: "weaver", memoryMB: 2048, timeout: 60}), "threads")
		if got.Error != "RuntimeError" || got.N > 1024 {
			t.Errorf("started %d threads, then %q, want at most 1024, then RuntimeError", got.N, got.Error)
		}
	})
	for _, memory := range []int32{1024, 128} {
		p.attack(t, fmt.Sprintf("temporary storage with %d MB of memory", memory), func(t *testing.T) {
			name := p.deploy(t, function{name: fmt.Sprintf("packrat-%d", memory), memoryMB: memory, timeout: 60})
			got := call[amount](t, p, name, "fill_tmp", "mb", 600)
			if got.Error != "ENOSPC" || got.MB > 512 || got.MB < 480 {
				t.Errorf("wrote %d MB, then %q, want about 512, then ENOSPC", got.MB, got.Error)
			}
		})
	}
	p.attack(t, "the log", func(t *testing.T) {
		name := p.deploy(t, function{name: "chatterbox", timeout: 60})
		r := p.call(t, name, do("flood_log", "mb", 50)).must(t)
		if tail, err := base64.StdEncoding.DecodeString(string(r.tail)); err != nil || len(tail) > 4<<10 {
			t.Errorf("the log's tail has %d bytes (%v), want at most 4 KiB", len(tail), err)
		}
	})
	p.attack(t, "the answer's size", func(t *testing.T) {
		name := p.deploy(t, function{name: "windbag", memoryMB: 512})
		p.call(t, name, do("huge_answer", "mb", 7)).failsWith(t, "Function.ResponseSizeTooLarge")
	})
}

func timeIsTheHosts(t *testing.T, p *place) {
	p.attack(t, "run on between calls", func(t *testing.T) {
		name := p.deploy(t, function{name: "ghost"})
		type ticks struct {
			Ticks    int
			Instance string
		}
		const pause = 2 * time.Second // the subject of this test is time that passes
		call[ticks](t, p, name, "haunt", "start", true)
		during := call[ticks](t, p, name, "haunt", "stay", pause.Seconds())
		time.Sleep(pause)
		after := call[ticks](t, p, name, "haunt")
		if after.Instance != during.Instance {
			t.Fatal("the second call had another instance: nothing to compare")
		}
		// The control is the same time within a call, where the thread does run.
		if idle := after.Ticks - during.Ticks; idle > during.Ticks/2 {
			t.Errorf("the thread made %d turns in an idle instance, and %d while a call ran", idle, during.Ticks)
		}
	})
	p.attack(t, "ignore the time limit", func(t *testing.T) {
		name := p.deploy(t, function{name: "sloth", timeout: 2})
		before := len(sentries(t))
		p.call(t, name, do("spin")).failsWith(t, "Task timed out after 2.00 seconds")
		eventually(t, "the sandbox is gone", func() bool { return len(sentries(t)) <= before })
		call[map[string]any](t, p, name, "whoami")
	})
}

func processes(t *testing.T, p *place) {
	name := p.deploy(t, function{name: "killer", timeout: 5})
	const mark = "86399.4711"
	victim := exec.Command("sleep", mark)
	ok(t, victim.Start())
	died := make(chan error, 1)
	go func() { died <- victim.Wait() }()
	defer func() {
		victim.Process.Kill()
	}()

	p.attack(t, "see the host's", func(t *testing.T) {
		got := call[map[string]string](t, p, name, "processes")
		for pid, cmdline := range got {
			if strings.Contains(cmdline, mark) || strings.Contains(cmdline, ".test") || strings.Contains(cmdline, "runsc") {
				t.Errorf("it sees process %s: %s", pid, cmdline)
			}
		}
		if len(got) > 3 {
			t.Errorf("it sees %d processes: %v", len(got), got)
		}
	})
	p.attack(t, "kill the host's", func(t *testing.T) {
		pids := []int{victim.Process.Pid, os.Getpid(), os.Getppid()}
		for pid, got := range call[map[string]string](t, p, name, "kill", "pids", pids) {
			if got != "ESRCH" {
				t.Errorf("kill %s: %s, want ESRCH", pid, got)
			}
		}
	})
	p.attack(t, "kill all", func(t *testing.T) {
		p.call(t, name, do("kill_all"))
		call[map[string]any](t, p, name, "whoami")
	})
	for _, sig := range []int{6, 9, 11, 15, 19} {
		p.attack(t, fmt.Sprintf("signal %d to itself", sig), func(t *testing.T) {
			// As a namespace's first process it may be immune; then it sleeps.
			p.call(t, name, do("kill_self", "signal", sig)).failsWith(t, "Runtime.ExitError", "Task timed out after 5.00 seconds")
		})
	}
	for _, code := range []int{0, 1, 255} {
		p.attack(t, fmt.Sprintf("exit with code %d in the middle", code), func(t *testing.T) {
			p.call(t, name, do("exit", "code", code)).failsWith(t, "Runtime.ExitError")
		})
	}
	p.attack(t, "privileges", func(t *testing.T) {
		for what, got := range call[map[string]string](t, p, name, "privileges") {
			if strings.HasPrefix(got, "got:") {
				t.Errorf("%s: %s", what, got)
			}
		}
	})
	select {
	case err := <-died:
		t.Errorf("a process of the host was ended: %v", err)
	default:
	}
}

func network(t *testing.T, p *place) {
	name := p.deploy(t, function{name: "spy"})
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	ok(t, err)
	defer l.Close()
	go greet(l, "the host's")
	_, port, err := net.SplitHostPort(l.Addr().String())
	ok(t, err)
	_, node, err := net.SplitHostPort(strings.TrimPrefix(p.node.Endpoint, "http://"))
	ok(t, err)
	connect := func(t *testing.T, to ...string) map[string]string {
		t.Helper()
		return call[map[string]string](t, p, name, "connect", "to", to)
	}

	// Controls: the network does work, and what is refused below is there.
	if got := connect(t, hostnet.Outside+":8000")[hostnet.Outside+":8000"]; got != "got: outside" {
		t.Fatalf("a machine outside: %s", got)
	}
	for _, at := range []string{"127.0.0.1:" + port, hostnet.Host + ":" + port, "169.254.169.254:80"} {
		c, err := net.Dial("tcp4", at)
		ok(t, err)
		c.Close()
	}

	p.attack(t, "the host", func(t *testing.T) {
		gateway := call[string](t, p, name, "gateway")
		for to, got := range connect(t, "127.0.0.1:"+port, "127.0.0.1:"+node, hostnet.Host+":"+port, hostnet.Host+":"+node, gateway+":"+port, gateway+":"+node) {
			if got != "ECONNREFUSED" {
				t.Errorf("%s: %s, want ECONNREFUSED", to, got)
			}
		}
	})
	p.attack(t, "the metadata service", func(t *testing.T) {
		for to, got := range connect(t, "169.254.169.254:80") {
			if got != "ECONNREFUSED" {
				t.Errorf("%s: %s, want ECONNREFUSED", to, got)
			}
		}
	})
	p.attack(t, "another instance", func(t *testing.T) {
		var neighbour struct{ Address string }
		p.call(t, "neighbour", map[string]any{}).into(t, &neighbour)
		listening := make(chan result, 1)
		go func() {
			r, err := p.invoke(t.Context(), "neighbour", map[string]any{"listen": 3})
			if err != nil {
				r.failure = err.Error()
			}
			listening <- r
		}()
		to := neighbour.Address + ":9999"
		for {
			for _, got := range connect(t, to) {
				if got != "ECONNREFUSED" {
					t.Errorf("%s: %s, want ECONNREFUSED", to, got)
				}
			}
			select {
			case r := <-listening:
				var got struct{ Visited bool }
				r.into(t, &got)
				if got.Visited {
					t.Error("the neighbour got a connection")
				}
				return
			default:
			}
		}
	})
}

func link(t *testing.T, p *place) {
	name := p.deploy(t, function{name: "forger", timeout: 3})
	for _, what := range []string{
		"garbage", "oversized", "unknown kind", "host's kind", "ready again", "init error late",
		"half a frame", "hostile header", "two answers", "closed", "steal",
	} {
		p.attack(t, what, func(t *testing.T) {
			p.call(t, name, do("link", "what", what)) // the answer is its own problem
			for range mayMiss(what) {
				if p.call(t, name, do("whoami")).failure != "" {
					break
				}
			}
			call[map[string]any](t, p, name, "whoami") // at the latest now on a good instance
		})
	}
	p.attack(t, "all descriptors closed", func(t *testing.T) {
		p.call(t, name, do("close_everything")).failsWith(t, "Runtime.ExitError", "Task timed out")
	})
}

// mayMiss is how many calls after an attack on the link may pass until one fails
// of it: the thief and the bootstrap race for each.
func mayMiss(attack string) int {
	if attack == "steal" {
		return 20
	}
	return 1
}

func customRuntime(t *testing.T, p *place) {
	bin := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./testdata/custom")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	name := p.deploy(t, function{name: "pirate", bin: bin, timeout: 20})
	well := func(t *testing.T) {
		t.Helper()
		if got := call[string](t, p, name, "echo"); got != "fine" {
			t.Errorf("after it the function answers %q", got)
		}
	}
	p.attack(t, "requests out of turn", func(t *testing.T) {
		for what, status := range call[map[string]int](t, p, name, "abuse the api") {
			if status < 400 || status >= 500 {
				t.Errorf("%s: status %d, want a refusal", what, status)
			}
		}
		well(t)
	})
	for _, what := range []string{"raw garbage", "many connections"} {
		p.attack(t, what, func(t *testing.T) {
			p.call(t, name, do(what)).must(t)
			well(t)
		})
	}
	p.attack(t, "the agent's descriptors", func(t *testing.T) {
		// It may damage its own link, whose host end takes no harm from it.
		p.call(t, name, do("open the link"))
		well(t)
	})
	p.attack(t, "the agent's memory", func(t *testing.T) {
		if got := call[string](t, p, name, "ptrace init"); got == "<nil>" {
			t.Error("it can trace the agent")
		}
	})
	p.attack(t, "namespaces", func(t *testing.T) {
		got := call[map[string]string](t, p, name, "namespaces")
		t.Logf("unshare: %v", got) // within gVisor a user namespace is harmless
		well(t)
	})
	for _, what := range []string{"kill init", "kill all", "exit"} {
		p.attack(t, what, func(t *testing.T) {
			if r := p.call(t, name, do(what)); r.failure != "" {
				r.failsWith(t, "Runtime.ExitError")
			}
			p.call(t, name, do("echo")) // may still meet the dying process
			well(t)
		})
	}
	p.attack(t, "answer and exit", func(t *testing.T) {
		p.call(t, name, do("answer and exit"))
		p.call(t, name, do("echo")) // may still meet the dying process
		well(t)
	})
}

// do is the event that makes a hostile function do something: a name, then
// keys and values.
func do(what string, args ...any) map[string]any {
	event := map[string]any{"do": what}
	for i := 0; i < len(args); i += 2 {
		event[args[i].(string)] = args[i+1]
	}
	return event
}

// call makes a hostile function do something and decodes its answer.
func call[T any](t *testing.T, p *place, name, what string, args ...any) (v T) {
	t.Helper()
	p.call(t, name, do(what, args...)).into(t, &v)
	return v
}

// eventually waits for something that happens outside of the node's answers.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("after 20 s it is still not so that %s", what)
			return
		}
	}
}

package sandboxtest

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// isolation has the probe try what code inside must not be able to do.
func (s *suite) isolation(t *testing.T) {
	p := Start(t, s.newDriver(t), s.images.Spec())

	t.Run("runs as nobody's user", func(t *testing.T) {
		var got self
		check(t, json.Unmarshal(p.Must("self", nil), &got))
		if got.UID == 0 || got.GID == 0 {
			t.Errorf("uid is %d, gid is %d", got.UID, got.GID)
		}
		if host, _ := os.Hostname(); got.Host == host {
			t.Errorf("it sees the host's name %q", got.Host)
		}
		status := string(p.Must("read /proc/self/status", nil))
		for _, want := range []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !containsLine(status, want) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
	})
	t.Run("sees no host process", func(t *testing.T) {
		var names []string
		check(t, json.Unmarshal(p.Must("list /proc", nil), &names))
		pids := slices.DeleteFunc(names, func(n string) bool { _, err := strconv.Atoi(n); return err != nil })
		if !slices.Equal(pids, []string{"1"}) {
			t.Errorf("processes are %v, want 1 alone", pids)
		}
	})
	t.Run("sees no host file", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		check(t, os.WriteFile(secret, []byte("secret"), 0o644))
		for _, path := range []string{secret, "/etc/shadow", "/proc/1/root" + secret, "/root", "/home", "/var/lib"} {
			if b, failed := p.Do("read "+path, nil); !failed {
				t.Errorf("%s can be read: %q", path, b)
			}
			if b, failed := p.Do("list "+path, nil); !failed {
				t.Errorf("%s can be listed: %s", path, b)
			}
		}
	})
	t.Run("writes nowhere but to tmp", func(t *testing.T) {
		for _, path := range []string{"/x", "/var/task/x", "/var/task/code.txt", "/usr/bin/probe", "/etc/hosts", "/dev/x", "/run/x", "/sys/x", "/proc/sys/kernel/hostname"} {
			if _, failed := p.Do("write "+path, []byte("x")); !failed {
				t.Errorf("%s can be written", path)
			}
		}
		p.Must("write /tmp/x", []byte("x"))
	})
	t.Run("opens its standard error anew", func(t *testing.T) {
		p.Must("write /dev/stderr", []byte("hello"))
		_, _, stderr := p.Link()
		b := make([]byte, 5)
		if _, err := stderr.Read(b); err != nil || string(b) != "hello" {
			t.Errorf("got %q, %v", b, err)
		}
	})
	t.Run("has its own loopback", func(t *testing.T) {
		if got := p.Must("loop", []byte("over loopback")); string(got) != "over loopback" {
			t.Errorf("got %q", got)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		defer l.Close()
		if _, failed := p.Do("dial "+l.Addr().String(), nil); !failed {
			t.Error("it reaches the host's loopback")
		}
	})
	t.Run("sees nothing of another", func(t *testing.T) {
		p.Must("write /tmp/mine", []byte("mine"))
		q := Start(t, s.newDriver(t), s.images.Spec())
		if b, failed := q.Do("read /tmp/mine", nil); !failed {
			t.Errorf("another sandbox reads %q", b)
		}
	})
	t.Run("is told its memory", func(t *testing.T) {
		if !s.opts.Memory {
			t.Skip("the driver has no memory limit")
		}
		if text := string(p.Must("read /proc/meminfo", nil)); !containsLine(text, "MemTotal:         131072 kB\n") {
			t.Errorf("meminfo has no 128 MiB in all:\n%s", text)
		}
	})
}

func containsLine(text, line string) bool {
	return slices.Contains(slices.Collect(lines(text)), line)
}

func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for start := 0; start < len(text); {
			end := start
			for end < len(text) && text[end] != '\n' {
				end++
			}
			if end < len(text) {
				end++
			}
			if !yield(text[start:end]) {
				return
			}
			start = end
		}
	}
}

// limits has the probe use up what it has.
func (s *suite) limits(t *testing.T) {
	p := Start(t, s.newDriver(t), s.images.Spec())
	for _, c := range []struct {
		action   string
		min, max int
		errno    syscall.Errno
	}{
		{"fill /tmp/big", 28, 32, syscall.ENOSPC},
		{"open", 100, 128, syscall.EMFILE},
		{"fork 200", 5, 64, syscall.EAGAIN},
	} {
		t.Run(c.action, func(t *testing.T) {
			for range 2 { // and again, to see that all was given back
				var got struct{ N, Errno int }
				check(t, json.Unmarshal(p.Must(c.action, nil), &got))
				if got.N < c.min || got.N > c.max || syscall.Errno(got.Errno) != c.errno {
					t.Errorf("stopped after %d with %q, want %d to %d and %q", got.N, syscall.Errno(got.Errno), c.min, c.max, c.errno)
				}
			}
			p.Must("echo", []byte("lives"))
		})
	}
}

// tmp has the probe fill a /tmp that is larger than its memory. Before and after,
// the peak must be that of the memory.
func (s *suite) tmp(t *testing.T) {
	spec := s.images.Spec()
	spec.TmpMB = 2 * spec.MemoryMB
	p := Start(t, s.newDriver(t), spec)
	p.Must("burst 30", nil)
	_, before, err := p.Sandbox.Memory()
	check(t, err)
	if before < 30<<20 || before > 60<<20 {
		t.Errorf("30 MiB for a moment are told as a peak of %d", before)
	}
	for range 2 {
		var got struct{ N, Errno int }
		check(t, json.Unmarshal(p.Must("fill /tmp/big", nil), &got))
		if got.N < spec.TmpMB-4 || got.N > spec.TmpMB || syscall.Errno(got.Errno) != syscall.ENOSPC {
			t.Errorf("stopped after %d MiB with %q, want about %d and %q", got.N, syscall.Errno(got.Errno), spec.TmpMB, syscall.ENOSPC)
		}
	}
	now, peak, err := p.Sandbox.Memory()
	check(t, err)
	if most := before + 10<<20; now > most || peak > most {
		t.Errorf("files count as memory: %d bytes before, %d now, at most %d", before, now, peak)
	}
	// Files may be on their way out still, which hides peaks.
	for tries := 0; peak < 60<<20 && tries < 100; tries++ {
		p.Must("burst 60", nil)
		_, peak, err = p.Sandbox.Memory()
		check(t, err)
	}
	if peak < 60<<20 || peak > 100<<20 {
		t.Errorf("after files, 60 MiB for a moment are told as a peak of %d", peak)
	}
}

func (s *suite) outOfMemory(t *testing.T) {
	d := s.newDriver(t)
	neighbour := Start(t, d, s.images.Spec())
	p := Start(t, d, s.images.Spec())
	p.Must("alloc 90", nil) // under the limit
	check(t, p.Send("alloc 2000", nil))
	p.waitDone(t)
	if got := p.Exit(); !got.OOM {
		t.Errorf("Exit is %+v, want out of memory", got)
	}
	if _, peak, err := p.Sandbox.Memory(); err != nil || peak < 128<<20 {
		t.Errorf("after the end the peak, which was the limit, is told as %d, %v", peak, err)
	}
	neighbour.Must("echo", []byte("lives"))
}

// cpu compares two sandboxes that spin side by side.
func (s *suite) cpu(t *testing.T) {
	d := s.newDriver(t)
	spec := s.images.Spec()
	spec.MilliCPU, spec.CapCPU = 100, true
	p := Start(t, d, spec)
	p.Must("spin", nil)
	check(t, p.Settle())
	start, before := time.Now(), processTime(t, p)
	p.Must("echo", nil)
	for time.Since(start) < time.Second {
		p.Must("spins", nil)
	}
	used := processTime(t, p) - before
	if share := float64(used) / float64(time.Since(start)); share > 0.2 {
		t.Errorf("a sandbox with a tenth of a CPU used %.2f", share)
	}
}

// processTime returns the CPU time of the sandbox's processes, if it tells.
func processTime(t *testing.T, p *Probe) time.Duration {
	t.Helper()
	timer, ok := p.Sandbox.(interface{ CPUTime() (time.Duration, error) })
	if !ok {
		t.Skip("the driver does not tell CPU time")
	}
	used, err := timer.CPUTime()
	check(t, err)
	return used
}

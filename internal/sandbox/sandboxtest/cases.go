package sandboxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

func (s *suite) link(t *testing.T) {
	p := Start(t, s.newDriver(t), s.images.Spec())

	t.Run("echoes small frames", func(t *testing.T) {
		for i := range 200 {
			want := []byte(strings.Repeat("x", i*7))
			if got := p.Must("echo", want); !bytes.Equal(got, want) {
				t.Fatalf("frame %d: got %d bytes, want %d", i, len(got), len(want))
			}
		}
	})
	t.Run("echoes 6 MB", func(t *testing.T) {
		want := make([]byte, 6<<20)
		rand.NewChaCha8([32]byte{1}).Read(want)
		if got := p.Must("echo", want); !bytes.Equal(got, want) {
			t.Fatal("6 MB came back changed")
		}
	})
	t.Run("streams, and waits for a slow reader", func(t *testing.T) {
		want := make([]byte, 1<<20) // more than a pipe holds
		rand.NewChaCha8([32]byte{2}).Read(want)
		sent := make(chan error, 1)
		go func() { sent <- p.Send("stream", want) }()
		if f := p.read(); f.Kind != sandbox.FrameHead {
			t.Fatalf("frame of kind %d instead of a head", f.Kind)
		}
		var got []byte
		f := p.read()
		for ; f.Kind == sandbox.FrameChunk; f = p.read() {
			got = append(got, f.Body...)
		}
		if f.Kind != sandbox.FrameEnd || !bytes.Equal(got, want) {
			t.Fatalf("frame of kind %d after %d bytes", f.Kind, len(got))
		}
		check(t, <-sent)
	})
	t.Run("gives standard error as it is written", func(t *testing.T) {
		want := "a line\nno newline \x00\xff"
		p.Must("log", []byte(want))
		_, _, stderr := p.Link()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(stderr, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	})
	t.Run("obeys deadlines", func(t *testing.T) {
		_, stdout, _ := p.Link()
		check(t, stdout.SetReadDeadline(time.Now().Add(-time.Second)))
		if _, err := stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read after the deadline gave %v", err)
		}
		p.deadline(30 * time.Second)
		p.Must("echo", []byte("still works"))
	})
}

type self struct {
	Args, Env []string
	Dir, Host string
	UID, GID  int
}

func (s *suite) process(t *testing.T) {
	spec := s.images.Spec()
	var want sandbox.Process
	inner := spec.Process
	spec.Process = func(p sandbox.Paths) sandbox.Process {
		want = inner(p)
		return want
	}
	p := Start(t, s.newDriver(t), spec)
	var got self
	check(t, json.Unmarshal(p.Must("self", nil), &got))

	if !slices.Equal(got.Args, want.Args) {
		t.Errorf("arguments are %q, want %q", got.Args, want.Args)
	}
	slices.Sort(got.Env)
	env := slices.Sorted(slices.Values(want.Env))
	if !slices.Equal(got.Env, env) {
		t.Errorf("environment is %q, want %q", got.Env, env)
	}
	if got.Dir != want.Dir {
		t.Errorf("working directory is %q, want %q", got.Dir, want.Dir)
	}
	if code := p.Must("read "+want.Dir+"/code.txt", nil); string(code) != "the code" {
		t.Errorf("code is %q", code)
	}
	var fds []int
	check(t, json.Unmarshal(p.Must("fds", nil), &fds))
	if !slices.Equal(fds, []int{0, 1, 2}) {
		t.Errorf("open descriptors are %v, want 0, 1 and 2", fds)
	}
}

func (s *suite) end(t *testing.T) {
	d := s.newDriver(t)
	for _, c := range []struct {
		action string
		want   sandbox.Exit
	}{
		{"exit 0", sandbox.Exit{}},
		{"exit 3", sandbox.Exit{Code: 3}},
		{"exit 137", sandbox.Exit{Code: 137}},
		{"signal 9", sandbox.Exit{Signal: 9}},
	} {
		t.Run(c.action, func(t *testing.T) {
			p := Start(t, d, s.images.Spec())
			check(t, p.Send(c.action, nil))
			p.waitDone(t)
			if got := p.Exit(); got != c.want {
				t.Errorf("Exit is %+v, want %+v", got, c.want)
			}
			_, stdout, _ := p.Link()
			if _, err := stdout.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("reading the link gives %v, want EOF", err)
			}
		})
	}
	t.Run("shutdown frame", func(t *testing.T) {
		p := Start(t, d, s.images.Spec())
		stdin, _, _ := p.Link()
		_, err := stdin.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameShutdown}))
		check(t, err)
		p.waitDone(t)
		if got := p.Exit(); got != (sandbox.Exit{}) {
			t.Errorf("Exit is %+v, want none", got)
		}
	})
	t.Run("program that does not exist", func(t *testing.T) {
		spec := s.images.Spec()
		spec.Process = func(p sandbox.Paths) sandbox.Process {
			return sandbox.Process{Args: []string{p.Root + "/usr/bin/nothing"}, Dir: p.Task}
		}
		sb, err := d.Create(t.Context(), spec)
		check(t, err)
		defer sb.Close()
		if err := sb.Start(t.Context()); err == nil {
			t.Error("Start succeeded")
		}
		check(t, sb.Close())
	})
}

func (p *Probe) waitDone(t testing.TB) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("Done is not closed")
	}
}

func (s *suite) pause(t *testing.T) {
	p := Start(t, s.newDriver(t), s.images.Spec())
	p.Must("spin", nil)
	ctx := t.Context()
	check(t, p.Pause(ctx))
	if err := p.Pause(ctx); err == nil {
		t.Error("pausing a paused sandbox is no error")
	}
	// A frame that is sent now is answered after the thaw, and not before.
	check(t, p.Send("echo", []byte("later")))
	_, stdout, _ := p.Link()
	check(t, stdout.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	if _, err := stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused sandbox answered: %v", err)
	}
	check(t, p.Resume(ctx))
	if err := p.Resume(ctx); err == nil {
		t.Error("resuming a running sandbox is no error")
	}
	p.deadline(30 * time.Second)
	if f := p.read(); string(f.Body) != "later" {
		t.Fatalf("after resume: %q", f.Body)
	}
	before := p.number("spins")
	for p.number("spins") == before { // its spinning goes on, or the deadline ends this
	}
	check(t, p.Pause(ctx)) // and a paused sandbox can be closed
}

func (p *Probe) number(action string) int64 {
	p.t.Helper()
	n, err := strconv.ParseInt(string(p.Must(action, nil)), 10, 64)
	check(p.t, err)
	return n
}

func (s *suite) memory(t *testing.T) {
	p := Start(t, s.newDriver(t), s.images.Spec())
	before, _, err := p.Sandbox.Memory()
	check(t, err)
	if before <= 0 || before > 64<<20 {
		t.Errorf("a fresh probe uses %d bytes", before)
	}
	p.Must("alloc 40", nil)
	now, peak, err := p.Sandbox.Memory()
	check(t, err)
	if grown := now - before; grown < 40<<20 || grown > 60<<20 {
		t.Errorf("40 MiB more are counted as %d bytes", grown)
	}
	if peak < now {
		t.Errorf("the peak %d is under the present %d", peak, now)
	}
	if !s.opts.Memory {
		return
	}
	p.Must("alloc 65", nil) // with what it has, close to the limit
	limit := int64(s.images.Spec().MemoryMB) << 20
	now, peak, err = p.Sandbox.Memory()
	check(t, err)
	if now < limit*8/10 || now > limit || peak < now || peak > limit {
		t.Errorf("with 105 MiB allocated it uses %d bytes, at most %d, of %d", now, peak, limit)
	}
}

func (s *suite) concurrent(t *testing.T) {
	d := s.newDriver(t)
	check(t, d.Prepare(t.Context(), s.images.Spec()))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := Start(t, d, s.images.Spec())
			want := strings.Repeat(strconv.Itoa(i), 1000)
			if got := p.Must("echo", []byte(want)); string(got) != want {
				t.Errorf("sandbox %d got another's answer", i)
			}
			if i%2 == 0 {
				check(t, p.Close())
			}
		})
	}
	wg.Wait()
}

func (s *suite) close(t *testing.T) {
	d := s.newDriver(t)
	t.Run("before start", func(t *testing.T) {
		sb, err := d.Create(t.Context(), s.images.Spec())
		check(t, err)
		check(t, sb.Close())
		check(t, sb.Close())
	})
	t.Run("while it works", func(t *testing.T) {
		p := Start(t, d, s.images.Spec())
		p.Must("spin", nil)
		var wg sync.WaitGroup
		wg.Go(func() { // ends with an error when the link closes
			_, stdout, _ := p.Link()
			io.Copy(io.Discard, stdout)
		})
		wg.Go(func() {
			stdin, _, _ := p.Link()
			frame := sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: []byte("echo"), Body: make([]byte, 1<<20)})
			for {
				if _, err := stdin.Write(frame); err != nil {
					return
				}
			}
		})
		check(t, p.Close())
		wg.Wait()
		p.waitDone(t)
		if got := p.Exit(); got.Signal != int(syscall.SIGKILL) {
			t.Errorf("Exit is %+v, want signal 9", got)
		}
	})
	t.Run("create that is given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if sb, err := d.Create(ctx, s.images.Spec()); err == nil {
			sb.Close()
			t.Error("Create succeeded with a context that had ended")
		}
	})
}

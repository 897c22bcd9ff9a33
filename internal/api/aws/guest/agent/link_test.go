package main

import (
	"github.com/mayfly-dev/mayfly/internal/api/aws/guest/runtimeapi"
	"os"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

func TestLinkReadsAndWritesTheContractsFrames(t *testing.T) {
	hostIn, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, hostOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{hostIn, out, in, hostOut} {
		defer f.Close()
	}
	l := &link{in: int(in.Fd()), out: int(out.Fd()), rbuf: make([]byte, 16)}
	large := strings.Repeat("b", 30_000)
	sent := []sandbox.Frame{
		{Kind: sandbox.FrameInvoke, Header: []byte("A: b\r\n"), Body: []byte("one")},
		{Kind: sandbox.FrameShutdown},
		{Kind: sandbox.FrameInvoke, Body: []byte(large)},
	}
	var wire []byte
	for _, f := range sent {
		wire = sandbox.AppendFrame(wire, f)
	}
	if _, err := hostOut.Write(wire); err != nil {
		t.Fatal(err)
	}
	for _, want := range sent {
		got, err := l.receive()
		if err != nil {
			t.Fatal(err)
		}
		if got.kind != byte(want.Kind) || string(got.header) != string(want.Header) || string(got.body) != string(want.Body) {
			t.Errorf("received %d %q and %d bytes", got.kind, got.header, len(got.body))
		}
	}
	if err := l.send(runtimeapi.FrameFailure, "Error-Type: x\r\n", []byte(large)); err != nil {
		t.Fatal(err)
	}
	got, err := sandbox.ReadFrame(hostIn, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != sandbox.FrameFailure || string(got.Header) != "Error-Type: x\r\n" || string(got.Body) != large {
		t.Errorf("sent %d %q and %d bytes", got.Kind, got.Header, len(got.Body))
	}
}

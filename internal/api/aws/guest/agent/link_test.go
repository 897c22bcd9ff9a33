package main

import (
	"os"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

func TestFrameKindsAreTheContracts(t *testing.T) {
	for ours, theirs := range map[byte]sandbox.FrameKind{
		frameInvoke: sandbox.FrameInvoke, frameShutdown: sandbox.FrameShutdown, frameReady: sandbox.FrameReady,
		frameSnapshot: sandbox.FrameSnapshot, frameRestore: sandbox.FrameRestore,
		frameInitError: sandbox.FrameInitError, frameResponse: sandbox.FrameResponse, frameFailure: sandbox.FrameFailure,
		frameHead: sandbox.FrameHead, frameChunk: sandbox.FrameChunk, frameEnd: sandbox.FrameEnd,
	} {
		if ours != byte(theirs) {
			t.Errorf("kind %d is %d in package sandbox", ours, theirs)
		}
	}
}

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
	if err := l.send(frameFailure, "Error-Type: x\r\n", []byte(large)); err != nil {
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

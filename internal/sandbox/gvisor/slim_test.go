package gvisor

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/sentry/arch/fpu"

	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// What the code looked up before is of no use to a copy, and each entry would make
// its start slower.
func TestSnapshotKeepsNothingOfFilesThatWereLookedUp(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	kernel := func(paths ...string) int64 {
		p := sandboxtest.Start(t, d, images.Spec())
		for _, path := range paths {
			p.Must("read "+path, nil)
		}
		f, err := os.Open(p.Save())
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		at, err := readLayout(f)
		if err != nil {
			t.Fatal(err)
		}
		return at.Kernel
	}
	none := kernel()
	some := kernel("/proc/1/status", "/proc/1/net/dev", "/proc/thread-self/maps", "/proc/sys/kernel/random/uuid", "/etc/passwd", taskDir+"/code.txt")
	if some > none+2000 { // the directory of one process alone takes more
		t.Errorf("the kernel's state has %d bytes, after looking at six files %d", none, some)
	}
}

func TestTrimmedRegistersLoadAsTheyWere(t *testing.T) {
	cpuid.Initialize()
	whole := fpu.NewState()
	for i := 32; i < 416; i++ { // x87 and SSE
		whole[i] = byte(i)
	}
	features := byte(cpuid.XSAVEFeatureX87 | cpuid.XSAVEFeatureSSE)
	if size, _ := cpuid.HostFeatureSet().ExtendedStateSize(); size >= leastRegisters+256 && cpuid.HostFeatureSet().UseXsave() {
		features |= cpuid.XSAVEFeatureAVX
		whole[leastRegisters+100] = 42
	}
	if cpuid.HostFeatureSet().UseXsave() {
		whole[512] = features
	}
	want := slices.Clone(whole)
	trimRegisters(&whole)
	if len(whole) >= len(want) || cap(whole) != len(whole) {
		t.Errorf("of %d bytes %d are left, in room for %d", len(want), len(whole), cap(whole))
	}
	whole = slices.Clone(whole)
	whole.AfterLoad()
	if !bytes.Equal(whole.Slice(), want.Slice()) {
		t.Error("other registers were loaded than saved")
	}
}

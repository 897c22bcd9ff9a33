package gvisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// That it unmounts on the word, each sandbox that boots proves: gVisor looks.
func TestUmounterFailsWithoutTheWord(t *testing.T) {
	program := umounter()
	if program == nil {
		t.Skip("there is none for this processor")
	}
	fd, err := programFD(program)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd))
	cmd.ExtraFiles = []*os.File{r}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1", err)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Error(err)
	}
}

// What waits beside a blank sandbox's kernel costs next to nothing.
func TestBlankSandboxHasASmallHelper(t *testing.T) {
	if umounter() == nil {
		t.Skip("there is none for this processor")
	}
	d := newDriver(t)
	spec := sandboxtest.Images(t).Spec()
	b, err := d.(sandbox.Snapshotter).Blank(t.Context(), spec.ID, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	pid := b.(*blank).s.pid
	t.Logf("the kernel's PSS is %d KiB", pss(t, pid))
	helpers := children(pid)
	if len(helpers) == 0 {
		t.Error("the kernel has no helper")
	}
	for _, h := range helpers {
		if kb := pss(t, h); kb > 512 {
			exe, _ := os.Readlink("/proc/" + strconv.Itoa(h) + "/exe")
			t.Errorf("its helper %s has a PSS of %d KiB", exe, kb)
		}
	}
}

// pss returns a process's proportional share of memory in KiB.
func pss(t *testing.T, pid int) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

package gvisor

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProbeBootsASandboxAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := Probe(t.Context())
	if !r.Works {
		t.Errorf("no sandbox runs here: %+v", r.Findings)
	}
	if os.Geteuid() == 0 {
		for _, f := range r.Findings {
			if !f.OK {
				t.Errorf("as root: %+v", f)
			}
		}
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	if left, _ := filepath.Glob(cgroupRoot + "/*/mayfly-*/probe"); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

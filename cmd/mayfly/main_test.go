package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mayfly-dev/mayfly/internal/node"
)

func TestMain(m *testing.M) {
	node.Reexec()
	testscript.Main(m, map[string]func(){"mayfly": main})
}

// scriptPatience bounds what scripts wait for.
const scriptPatience = 60 * time.Second

// TestScripts runs the command line as a person would, the node included.
func TestScripts(t *testing.T) {
	goEnv := strings.Fields(goVariables(t))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			repo, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			e.Setenv("REPO", repo)
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("MAYFLY_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Vars = append(e.Vars, goEnv...)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": awaitFile,
			"until": until,
		},
	})
}

// goVariables returns where Go keeps things: a script's home has none of it.
func goVariables(t *testing.T) string {
	t.Helper()
	var list []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GOSUMDB"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Skipf("no go command: %v", err)
		}
		if v := strings.TrimSpace(string(out)); v != "" {
			list = append(list, name+"="+v)
		}
	}
	return strings.Join(list, "\n")
}

// awaitFile waits until a file is there.
func awaitFile(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for end := time.Now().Add(scriptPatience); !exists(path); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s did not come", args[0])
		}
	}
}

// until repeats a command until its standard output matches a pattern.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	var out string
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if out = ts.ReadFile("stdout"); err == nil && want.MatchString(out) {
			return
		}
	}
	ts.Fatalf("no match for %q in the end: %s", args[0], out)
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/replay"
)

func TestReplayHereSaysWhichProgramIsMissing(t *testing.T) {
	for _, tc := range []struct {
		name, runtime string
		buildGo       bool
		has           map[string]string // programs of the machine: scripts
		debug         bool
		want          string // in the error; "" means none
	}{
		{name: "Python", runtime: "python3.11", want: "there is no python3 here; `apt install python3`"},
		{name: "Python's debugger", runtime: "python3.11", has: map[string]string{"python3": "exit 1"}, debug: true, want: "`python3 -m pip install debugpy`"},
		{name: "nothing for Python", runtime: "python3.11", has: map[string]string{"python3": "exit 0"}, debug: true},
		{name: "only what isn't needed", runtime: "python3.11", has: map[string]string{"python3": "exit 1"}},
		{name: "Node.js", runtime: "nodejs20.x", debug: true, want: "there is no node here; `apt install nodejs`"},
		{name: "nothing for Node.js", runtime: "nodejs20.x", has: map[string]string{"node": "exit 1"}, debug: true},
		{name: "Go", runtime: "provided.al2023", buildGo: true, want: "there is no go here; https://go.dev/dl"},
		{name: "Go's debugger", runtime: "provided.al2023", buildGo: true, has: map[string]string{"go": "exit 0"}, debug: true, want: "`go install github.com/go-delve/delve/cmd/dlv@latest`"},
		{name: "nothing for Go", runtime: "provided.al2023", buildGo: true, has: map[string]string{"go": "exit 0", "dlv": ""}, debug: true},
		{name: "a way at all", runtime: "provided.al2023", want: "runtime provided.al2023 can't be run here"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bin := t.TempDir()
			for program, script := range tc.has {
				if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin)
			p := &project{dir: t.TempDir()}
			p.Runtime, p.Handler, p.buildGo = tc.runtime, "app.handler", tc.buildGo
			cmd, wait, err := p.localCommand(t.Context(), t.TempDir(), replay.Recording{Event: []byte("{}")}, tc.debug)
			switch {
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q in it", err, tc.want)
			case tc.want == "" && (err != nil || cmd.Path == "" || (wait != "") != tc.debug):
				t.Errorf("command %v, to be told %q, error %v", cmd, wait, err)
			}
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor/egress"
)

// finding is one thing that doctor looked at.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning, missing
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"` // what to do about it
}

// The states of a finding. Missing means that a node won't work as it is.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateMissing = "missing"
)

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, and what mends what it can't",
		Long: `Say what this machine can do for a node, what is missing and the command that
mends it. It changes nothing. The exit status is 1 if a node would not work.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := examine(cmd.Context(), c.directory())
			if c.json {
				if err := c.printJSON(findings); err != nil {
					return err
				}
			} else {
				c.printFindings(findings)
			}
			for _, f := range findings {
				if f.State == stateMissing {
					return silentError(exitFailed)
				}
			}
			return nil
		},
	}
}

func examine(ctx context.Context, dataDir string) []finding {
	list := append([]finding{machine()}, isolation(ctx)...)
	list = append(list, network())
	list = append(list, interpreters(ctx)...)
	return append(list, tool("go", "Go programs are compiled by deploy", "apt-get install golang"), directoryFinding(dataDir))
}

func machine() finding {
	f := finding{Check: "machine", State: stateOK}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{Check: "machine", State: stateMissing, Found: err.Error()}
	}
	f.Found = fmt.Sprintf("Linux %s, %s, %d CPUs", unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.NumCPU())
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		f.State, f.Mend = stateMissing, "gVisor runs on amd64 and arm64; only --driver process works here"
	}
	return f
}

// isolation boots a sandbox and tells what holds for it.
func isolation(ctx context.Context) []finding {
	report := gvisor.Probe(ctx)
	var list []finding
	for i, r := range report.Findings {
		f := finding{Check: r.Name, State: stateOK, Found: r.Detail, Mend: r.Fix}
		switch {
		case r.OK:
		case i == 0 && !report.Works:
			f.State = stateMissing
		default:
			f.State = stateWarning
		}
		list = append(list, f)
	}
	return list
}

func network() finding {
	notes, err := egress.Probe()
	switch {
	case err != nil:
		return finding{Check: "network", State: stateWarning, Found: "functions can't reach the network", Mend: err.Error()}
	case len(notes) > 0:
		return finding{Check: "network", State: stateWarning, Found: "works, but", Mend: strings.Join(notes, "\n")}
	default:
		return finding{Check: "network", State: stateOK, Found: "functions can reach the network"}
	}
}

// interpreters tells which language runtimes functions can have.
func interpreters(ctx context.Context) []finding {
	cfg := defaultConfig()
	catalog, err := runtimes.Detect(ctx, runtimes.Config{Dirs: cfg.InterpreterDirs, VersionDirs: cfg.VersionDirs})
	if err != nil {
		return []finding{{Check: "runtimes", State: stateMissing, Found: err.Error()}}
	}
	var list []finding
	for _, l := range []struct {
		name   string
		family runtimes.Family
		mend   string
	}{
		{"python", runtimes.Python, "apt-get install python3"},
		{"node.js", runtimes.Node, "apt-get install nodejs"},
	} {
		var have []string
		for _, r := range catalog.Found() {
			if r.Family == l.family {
				have = append(have, fmt.Sprintf("%s (%s, %s)", r.Name, r.Version, r.Interpreter))
			}
		}
		f := finding{Check: l.name, State: stateOK, Found: strings.Join(have, "\n")}
		if len(have) == 0 {
			f.State, f.Found, f.Mend = stateWarning, "none found", l.mend
		}
		list = append(list, f)
	}
	for _, s := range catalog.Skipped() {
		list = append(list, finding{Check: "skipped", State: stateWarning, Found: s.Path, Mend: s.Reason})
	}
	return append(list, finding{Check: "custom", State: stateOK, Found: "provided.al2023, provided.al2: any executable bootstrap"})
}

func tool(name, why, mend string) finding {
	path, err := exec.LookPath(name)
	if err != nil {
		return finding{Check: name, State: stateWarning, Found: "not found; " + why, Mend: mend}
	}
	return finding{Check: name, State: stateOK, Found: path}
}

// directoryFinding tells whether the data directory can be used, without
// making it.
func directoryFinding(dir string) finding {
	f := finding{Check: "data", State: stateOK, Found: dir}
	at := dir
	for !exists(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	var st unix.Statfs_t
	if err := errors.Join(unix.Access(at, unix.W_OK), unix.Statfs(at, &st)); err != nil {
		f.State, f.Mend = stateMissing, fmt.Sprintf("%s can't be written: choose another with --data-dir", at)
		return f
	}
	free := int64(st.Bavail) * st.Bsize
	f.Found += fmt.Sprintf(", %.1f GB free", float64(free)/1e9)
	if free < 1e9 {
		f.State, f.Mend = stateWarning, "less than 1 GB is free: images of runtimes and functions may not fit"
	}
	return f
}

func (c *cli) printFindings(list []finding) {
	var rows [][]string
	for _, f := range list {
		mark := good.Render("✓")
		switch f.State {
		case stateWarning:
			mark = warned.Render("!")
		case stateMissing:
			mark = bad.Render("✗")
		}
		rows = append(rows, []string{mark, strong.Render(f.Check), f.Found})
		if f.Mend != "" {
			for line := range strings.SplitSeq(f.Mend, "\n") {
				rows = append(rows, []string{"", "", faint.Render("→ ") + line})
			}
		}
	}
	for _, r := range rows {
		found := strings.ReplaceAll(r[2], "\n", "\n"+strings.Repeat(" ", 17))
		lipgloss.Fprintln(c.out, " "+pad(r[0], 1)+" "+pad(r[1], 13)+" "+found)
	}
}

// pad fills s, which may have colours, up to width columns.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
}

// Package sandbox runs instances of functions: a Pool of them over a Driver
// (how they are isolated) and a Guest (how the code inside asks for work).
package sandbox

import (
	"context"
	"os"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
)

// Driver makes sandboxes. Its methods may be called from any goroutine.
type Driver interface {
	// Name is the word users choose the driver by: "gvisor", "process".
	Name() string

	// Prepare builds what is slow and shared by all sandboxes of spec (images),
	// so that Create is fast. It is idempotent and safe to skip.
	Prepare(ctx context.Context, spec Spec) error

	// Create makes a sandbox that holds no running process yet. The caller
	// must Close it, even when ctx ends.
	Create(ctx context.Context, spec Spec) (Sandbox, error)

	// Sweep removes what an earlier node on the same data directory left
	// behind: processes, mounts, cgroups, interfaces, firewall rules.
	Sweep(ctx context.Context) error

	// Close removes what the driver itself holds. All sandboxes must have been
	// closed before.
	Close() error
}

// Sandbox is one isolated place with one first process, whose standard input
// and output are the link to the host and whose standard error is the log.
type Sandbox interface {
	// Start runs the first process. It is called once.
	Start(ctx context.Context) error

	// Settle ends what a driver grants to a start beyond Spec.MilliCPU. It is
	// called when the first process is ready for work; a driver ends such a
	// grace by itself after some time, or with the first Pause.
	Settle() error

	// Link returns the host's ends of the first process's stdin, stdout and
	// stderr. They support deadlines. The sandbox owns and closes them; stderr may
	// be closed before, by who reads it.
	Link() (stdin, stdout, stderr *os.File)

	// Pause stops all of the sandbox's CPU use; Resume ends that. Pausing a
	// paused sandbox, or resuming a running one, is an error.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error

	// Memory returns the memory that the sandbox has in use now and the most
	// it had so far, in bytes, as its owner would count it (without the
	// driver's own overhead as far as the driver can tell).
	Memory() (now, peak int64, err error)

	// Done is closed when the first process has ended or the sandbox has
	// died; Exit then says how.
	Done() <-chan struct{}
	Exit() Exit

	// Close ends everything in the sandbox at once and removes its traces. It
	// returns when nothing is left. Further calls do nothing.
	Close() error
}

// Snapshotter is what a Driver is besides when its sandboxes can be saved and
// made again from what was saved, as often as wanted.
type Snapshotter interface {
	// Build identifies, in any words, what snapshots depend on besides the Spec:
	// the driver's own version and configuration, and the machine. A snapshot
	// restores only under the Build that it was saved under.
	Build() string

	// Shape names the kind of blank that sandboxes of spec are restored into.
	Shape(spec Spec) string

	// Blank makes a sandbox that is booted as far as is possible without knowing
	// what it will run. It serves every Spec that has the Shape of like. The
	// caller must Close it, or the sandbox that it becomes.
	Blank(ctx context.Context, id string, like Spec) (Blank, error)
}

// Blank is a booted sandbox that belongs to no function yet.
type Blank interface {
	// Restore makes it a running sandbox from a snapshot, which must be of an
	// equal Spec (but for the ID), image and Build. It is called once. After an
	// error the blank is of no more use.
	Restore(ctx context.Context, spec Spec, state *os.File) (Sandbox, error)

	// Done is closed when the blank has died.
	Done() <-chan struct{}

	// Close ends it at once. A sandbox that came of it is closed with it.
	Close() error
}

// Saver is what a Sandbox of a Snapshotter is besides.
type Saver interface {
	// Save writes a snapshot of the running sandbox, whose processes should be
	// waiting for work, and ends it; it must still be closed.
	Save(ctx context.Context, state *os.File) error
}

// Trimmer is what a Sandbox is besides when it can do with less memory.
type Trimmer interface {
	// Trim has the sandbox give back all memory that it can read again or do
	// without while it waits. It returns before that is done. The sandbox may be
	// paused; its next work takes some milliseconds longer.
	Trim() error
}

// Exit is how a sandbox ended.
type Exit struct {
	Code   int  // exit status of the first process, when Signal is 0
	Signal int  // signal that ended it, or 0
	OOM    bool // the memory limit ended it
}

// Spec is what a sandbox is made of. It is a value and is not changed by drivers.
type Spec struct {
	ID      string // unique on this node, [a-z0-9-], at most 40 characters
	Root    Image  // the root file system: language runtime, bootstrap, agent
	Code    Image  // shown read-only at Paths.Task
	Process func(Paths) Process

	// Own are values that only this sandbox's first process knows, such as its name,
	// and what it may have derived from them. A copy of a snapshot has its own, which
	// must be as many and as long, in their places in memory. What a value is must not
	// be found in memory by chance. They may be secrets.
	Own []string

	MemoryMB int  // limit for what runs inside
	TmpMB    int  // size of Paths.Tmp
	MilliCPU int  // share of the CPU when it is scarce, in thousandths of a CPU
	Patient  bool // others may have the CPU first, whatever MilliCPU says
	CapCPU   bool // hold it to MilliCPU even when CPU is to spare, once it is settled
	Pids     int  // processes and threads inside
	Files    int  // open files of a process inside
}

// Image is a read-only file tree that can be had in two forms. Both are built
// on first use and kept; concurrent calls build once.
type Image interface {
	// EROFS returns the path of an uncompressed EROFS image of the tree.
	EROFS(ctx context.Context) (string, error)
	// Dir returns the path of a directory that holds the tree.
	Dir(ctx context.Context) (string, error)
}

// Paths tells where the parts of a sandbox are, as seen by the code inside. An
// isolating driver answers with fixed ones; the process driver with the host's.
type Paths struct {
	Root    string // "" inside an isolated root; else the host directory that holds Spec.Root's tree
	Task    string // the function's code
	Runtime string // our bootstraps and agent
	Lang    string // the language runtime: its bin directory holds the interpreter
	Tmp     string // writable
	Serves  string // the loopback address at which the driver can serve the code: see Process.Serve; "" if it can't
}

// Process is a sandbox's first process.
type Process struct {
	Args []string // Args[0] is an absolute path
	Env  []string // the whole environment, KEY=value
	Dir  string   // working directory

	// Serve, if over 0, has the driver serve the code inside at Paths.Serves, in the
	// guest's own protocol. It answers what comes over the link then, and an answer
	// may have so many bytes. The process only writes to the link, and only before
	// there is code that asks for work.
	Serve int64
}

// Guest is how the code inside a sandbox asks for work: one per family of
// runtimes, chosen by the node. Its methods are safe for concurrent use.
type Guest interface {
	// Process returns the first process for an instance of v.
	Process(v *function.Version, b Birth, p Paths) (Process, error)

	// Copies reports whether the guest is told of snapshots with the frames
	// Snapshot and Restore. Others are saved while they wait, and know nothing.
	Copies(v *function.Version) bool

	// Fresh returns the environment variables of an instance of v that another
	// instance has not, as KEY=value: its identity and its secrets. A restored
	// copy is told its own.
	Fresh(v *function.Version, b Birth) []string

	// Own returns what of Fresh's values a copy of v can't just be told, since nobody
	// can reach its environment, or since its init has put them elsewhere: see Spec.Own.
	Own(v *function.Version, b Birth) []string

	// Header appends the header of an Invoke frame (see Frame) to dst.
	Header(dst []byte, v *function.Version, c *Call) []byte

	// Fault words an error that the host found out, as the error document
	// that the caller of the function gets, and its error type.
	Fault(f Fault) (body []byte, errorType string)
}

// Birth is what a guest is told of the instance that it makes a process for.
type Birth struct {
	ID          string // the instance's (it names its log stream)
	Provisioned bool   // started ahead of calls, to be ready for them
	Saved       bool   // started for a snapshot to be made of it, and gets no call
}

// Call is one invocation as the guest is told of it.
type Call struct {
	RequestID     string
	Deadline      time.Time
	InvokedName   string // the name or identifier the caller used, as given by the door
	TraceID       string // in the door's own format, may be empty
	ClientContext string // JSON, may be empty
	Identity      string // JSON, may be empty
	Payload       []byte
}

// Fault is what ended an invocation, or an init, without the code's own answer.
type Fault struct {
	RequestID string
	Kind      FaultKind
	Limit     time.Duration // TimedOut, InitTimedOut: the limit
	Exit      Exit          // Exited
	Size, Max int64         // ResponseTooLarge; Size is 0 when it is not known
}

// FaultKind tells faults apart.
type FaultKind uint8

// The kinds of fault.
const (
	TimedOut         FaultKind = iota + 1 // over the function's time limit
	Exited                                // the process ended without an answer
	OutOfMemory                           // the memory limit ended it
	InitTimedOut                          // over the init time limit
	ResponseTooLarge                      // the answer is over the limit
	Canceled                              // whoever read the streamed answer left
)

// Package admin is the door for what no cloud's API covers: usage and its
// price, records of calls, logs, and what the node and its instances are doing.
//
// It speaks JSON over HTTP below Prefix. Requests are signed like those of the
// other doors, with Service as the service name; checking that is the node's
// part. Times are RFC 3339. An error is a Problem with an HTTP status to match.
//
//	GET node                     what the node is, and its instances (NodeStatus)
//	GET functions/{name}/status  one function and its instances (FunctionStatus)
//	GET usage                    usage and its price (Usage): by=function (also version, alias,
//	                             tag, month, day, hour, minute), tag=KEY with by=tag, function,
//	                             alias, since, until. by=hour and by=minute make charts.
//	GET records                  the latest records with their costs (Records), oldest of them
//	                             first: function, since, until, failed=1, cold=1, limit (100; at
//	                             most 10,000).
//	                             For the page before, until is the first one's start.
//	GET records/{id}             the records of one request, one for each attempt (Records)
//	GET traces                   the latest traces (Traces): limit (50)
//	GET traces/{id}              one trace (Trace), by its id or by that of a request in it
//	GET logs                     one logs.Entry a line of all functions, as they come: function
//	                             (may be repeated), level, contains, since
//	GET logs/{function}          one logs.Entry a line: since, until, request, contains, level;
//	                             follow=1 goes on with each new line
//	GET budgets                  limits on costs and how they stand (Budgets)
//	PUT budgets/{name}           set one (Budget), DELETE budgets/{name} removes it
package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/replay"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

const (
	// Prefix is the path that all calls begin with.
	Prefix = "/_mayfly/v1/"
	// Service is the service name in the signatures of calls.
	Service = "mayfly"
)

// Functions finds functions. Get fails with errs.NotFound.
type Functions interface {
	Get(name, qualifier string) (*function.Version, error)
}

// Instances lists what runs now.
type Instances interface {
	Instances() []sandbox.InstanceInfo
}

// Node is what a node tells of itself.
type Node struct {
	Version  string    `json:"version"`
	Endpoint string    `json:"endpoint"`
	DataDir  string    `json:"dataDir"`
	Region   string    `json:"region"`
	Account  string    `json:"account"`
	Driver   string    `json:"driver"`
	Started  time.Time `json:"started"`
	MemoryMB int       `json:"memoryMB"` // budget of all instances together
	Runtimes []Runtime `json:"runtimes"`

	Snapshots *Snapshots `json:"snapshots,omitempty"` // absent where none are made

	Warnings []string `json:"warnings"` // full sentences
}

// Runtime is a language runtime that the node found on its machine.
type Runtime struct {
	Name    string `json:"name"`    // such as python3.11
	Version string `json:"version"` // such as 3.11.7
	Path    string `json:"path"`    // of the interpreter
}

// Snapshots is what cold starts come of, where they need not be an init.
type Snapshots struct {
	Kept     int   `json:"kept"`     // on disk now
	Bytes    int64 `json:"bytes"`    // of these
	Spares   int   `json:"spares"`   // sandboxes that wait for one
	Taken    int64 `json:"taken"`    // since the node's start, as what follows
	Restored int64 `json:"restored"` // instances that came of one
	Failed   int64 `json:"failed"`   // restores that failed; a normal start took their place
	Refused  int64 `json:"refused"`  // snapshots that could not be made
}

// Config is what the door opens on. All fields are required.
type Config struct {
	Node      func() Node // may be called from any goroutine
	Meter     *meter.Ledger
	Prices    meter.PriceSheet // in force
	List      meter.PriceSheet // of the cloud, for comparison
	Logs      *logs.Store
	Spans     *trace.Spans
	Functions Functions
	Instances Instances
	Replay    *replay.Store
	Budgets   *budget.Budgets
	Invoker   replay.Invoker // runs kept events again
	Log       *slog.Logger
}

type door struct{ Config }

// handler answers a call or returns why it can't.
type handler func(http.ResponseWriter, *http.Request) error

// New returns the door. It serves requests whose signature has been checked.
func New(cfg Config) http.Handler {
	d := &door{cfg}
	mux := http.NewServeMux()
	for path, h := range map[string]handler{
		"node":                    d.node,
		"usage":                   d.usage,
		"records":                 d.records,
		"records/{id}":            d.record,
		"traces":                  d.traces,
		"traces/{id}":             d.trace,
		"logs":                    d.tail,
		"logs/{function}":         d.logs,
		"functions/{name}/status": d.status,
	} {
		mux.Handle("GET "+Prefix+path, d.answer(h))
	}
	for _, routes := range []map[string]handler{d.recordingRoutes(), d.budgetRoutes()} {
		for pattern, h := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			mux.Handle(method+" "+Prefix+path, d.answer(h))
		}
	}
	mux.Handle("/", d.answer(func(_ http.ResponseWriter, r *http.Request) error {
		return errs.Newf(errs.NotFound, "there is no %s %s here", r.Method, r.URL.Path)
	}))
	return mux
}

// statuses maps error kinds to HTTP.
var statuses = map[errs.Kind]struct {
	status int
	code   string
}{
	errs.Internal:    {http.StatusInternalServerError, "Internal"},
	errs.Invalid:     {http.StatusBadRequest, "Invalid"},
	errs.NotFound:    {http.StatusNotFound, "NotFound"},
	errs.Conflict:    {http.StatusConflict, "Conflict"},
	errs.Stale:       {http.StatusPreconditionFailed, "Stale"},
	errs.Denied:      {http.StatusForbidden, "Denied"},
	errs.Throttled:   {http.StatusTooManyRequests, "Throttled"},
	errs.TooLarge:    {http.StatusRequestEntityTooLarge, "TooLarge"},
	errs.Unavailable: {http.StatusServiceUnavailable, "Unavailable"},
	errs.Unsupported: {http.StatusNotImplemented, "Unsupported"},
}

// Problem is the body of an answer that is an error.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// errStarted says that the answer had begun when an error came.
var errStarted = errors.New("answer had begun")

func (d *door) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || errors.Is(err, errStarted) {
			return
		}
		status, p := d.problem(r, err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(p); err != nil {
			d.Log.DebugContext(r.Context(), "the caller of the admin door has gone", "err", err)
		}
	})
}

// problem words err for the caller. What went wrong inside goes to the node's
// log, and not out of the door.
func (d *door) problem(r *http.Request, err error) (status int, p Problem) {
	s := statuses[errs.KindOf(err)]
	p = Problem{Code: s.code, Message: err.Error()}
	if s.status == http.StatusInternalServerError {
		d.Log.ErrorContext(r.Context(), "admin call failed", "path", r.URL.Path, "err", err)
		p.Message = "The node failed to answer; its log has the reason."
	}
	return s.status, p
}

func write(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return errors.Join(errStarted, err)
	}
	return nil
}

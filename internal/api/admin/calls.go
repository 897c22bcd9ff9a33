package admin

import (
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

const maxRecords = 10_000

// Instance is one that runs now.
type Instance struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	Version     string    `json:"version"`
	State       string    `json:"state"` // starting, idle, frozen, busy
	Since       time.Time `json:"since"` // when it came into that state
	MemoryMB    int       `json:"memoryMB"`
	MemoryBytes int64     `json:"memoryBytes"`           // in use, 0 when not known
	Provisioned bool      `json:"provisioned,omitempty"` // kept ready ahead of calls
}

// NodeStatus is the answer of GET node.
type NodeStatus struct {
	Node
	UptimeSeconds int64      `json:"uptimeSeconds"`
	Instances     []Instance `json:"instances"`
}

// FunctionStatus is the answer of GET functions/{name}/status.
type FunctionStatus struct {
	Function        string     `json:"function"`
	State           string     `json:"state"`
	StateReason     string     `json:"stateReason,omitempty"`
	Update          string     `json:"update"`
	UpdateReason    string     `json:"updateReason,omitempty"`
	Runtime         string     `json:"runtime"`
	RuntimeResolved string     `json:"runtimeResolved,omitempty"` // what serves it
	RuntimeWarning  string     `json:"runtimeWarning,omitempty"`
	Snapshots       string     `json:"snapshots"` // on or off, as the owner wants it
	Revision        string     `json:"revision"`
	Modified        time.Time  `json:"modified"`
	Instances       []Instance `json:"instances"`
}

func (d *door) node(w http.ResponseWriter, r *http.Request) error {
	if err := only(r); err != nil {
		return err
	}
	n := d.Node()
	if n.Runtimes == nil {
		n.Runtimes = []Runtime{}
	}
	if n.Warnings == nil {
		n.Warnings = []string{}
	}
	return write(w, NodeStatus{
		Node:          n,
		UptimeSeconds: int64(time.Since(n.Started).Seconds()),
		Instances:     d.instances(""),
	})
}

// instances lists those of a function, or all.
func (d *door) instances(function string) []Instance {
	list := []Instance{}
	for _, i := range d.Instances.Instances() {
		if function == "" || i.Function == function {
			list = append(list, instance(i))
		}
	}
	return list
}

func instance(i sandbox.InstanceInfo) Instance {
	return Instance{
		ID: i.ID, Function: i.Function, Version: i.Version, State: i.State,
		Since: i.Since, MemoryMB: i.MemoryMB, MemoryBytes: i.MemoryBytes, Provisioned: i.Provisioned,
	}
}

func (d *door) status(w http.ResponseWriter, r *http.Request) error {
	if err := only(r); err != nil {
		return err
	}
	v, err := d.Functions.Get(r.PathValue("name"), function.Latest)
	if err != nil {
		return err
	}
	snapshots := "on"
	if v.Snapshot == function.SnapshotOff {
		snapshots = "off"
	}
	return write(w, FunctionStatus{
		Snapshots: snapshots,
		Function:  v.Function, State: string(v.State), StateReason: v.StateReason,
		Update: string(v.Update), UpdateReason: v.UpdateReason,
		Runtime: v.Runtime, RuntimeResolved: v.RuntimeResolved, RuntimeWarning: v.RuntimeWarning,
		Revision: v.Revision, Modified: v.Modified, Instances: d.instances(v.Function),
	})
}

// Usage is the answer of GET usage.
type Usage struct {
	meter.Bill
	ListName string      `json:"listName"` // of the cloud's price list
	ListCost meter.Money `json:"listCost"` // of the total at that list
}

func (d *door) usage(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "by", "tag", "function", "alias", "since", "until"); err != nil {
		return err
	}
	since, until, err := stretch(r)
	if err != nil {
		return err
	}
	q := meter.Query{
		By: meter.By(r.FormValue("by")), Tag: r.FormValue("tag"),
		Function: r.FormValue("function"), Alias: r.FormValue("alias"), Since: since, Until: until,
	}
	if q.Tag != "" && q.By != meter.ByTag {
		return errs.Newf(errs.Invalid, "tag names the key for by=tag, but by is %q", q.By)
	}
	bill, err := d.Meter.Bill(r.Context(), q, d.Prices)
	if err != nil {
		return err
	}
	u := Usage{Bill: bill, ListName: d.List.Name, ListCost: bill.Total.Cost}
	if d.List != d.Prices {
		list, err := d.Meter.Bill(r.Context(), q, d.List)
		if err != nil {
			return err
		}
		u.ListCost = list.Total.Cost
	}
	return write(w, u)
}

// Records is the answer of GET records and of GET records/{id}.
type Records struct {
	Records []PricedRecord `json:"records"`
}

// PricedRecord is a record with what it costs at the node's prices.
type PricedRecord struct {
	meter.Record
	Cost meter.Money `json:"cost"`
}

func (d *door) priced(list []meter.Record) Records {
	priced := make([]PricedRecord, len(list))
	for i := range list {
		priced[i] = PricedRecord{list[i], d.Prices.Cost(&list[i])}
	}
	return Records{priced}
}

func (d *door) records(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "function", "since", "until", "limit", "failed", "cold"); err != nil {
		return err
	}
	s := meter.Search{Function: r.FormValue("function")}
	var err error
	if s.Since, s.Until, err = stretch(r); err != nil {
		return err
	}
	if s.Failed, err = flag(r, "failed"); err != nil {
		return err
	}
	if s.Cold, err = flag(r, "cold"); err != nil {
		return err
	}
	if s.Limit, err = limit(r, maxRecords); err != nil {
		return err
	}
	list, err := d.Meter.Records(r.Context(), s)
	if err != nil {
		return err
	}
	return write(w, d.priced(list))
}

func (d *door) record(w http.ResponseWriter, r *http.Request) error {
	if err := only(r); err != nil {
		return err
	}
	list, err := d.Meter.Record(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return write(w, d.priced(list))
}

// logs answers with one entry a line. With follow=1 it goes on until the caller
// leaves; the last line is a Problem if reading failed on the way.
func (d *door) logs(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "since", "until", "follow", "request", "contains", "level"); err != nil {
		return err
	}
	f, err := filter(r)
	if err != nil {
		return err
	}
	follow, err := flag(r, "follow")
	if err != nil {
		return err
	}
	name := r.PathValue("function")
	_, missing := d.Functions.Get(name, function.Latest)
	if missing != nil && (follow || !errs.Is(missing, errs.NotFound)) {
		return missing
	}
	if follow {
		return d.stream(w, r, d.Logs.Follow(r.Context(), name, f), true, nil)
	}
	return d.stream(w, r, d.Logs.Query(r.Context(), name, f), false, missing)
}

// stream writes entries as they come. If there is none the answer is the error
// empty: a function that is gone still has its log, but not every name does.
func (d *door) stream(w http.ResponseWriter, r *http.Request, entries iter.Seq2[logs.Entry, error], live bool, empty error) error {
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	begun := false
	begin := func() {
		begun = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
	}
	if live {
		begin()
		err := out.SetWriteDeadline(time.Time{})
		if errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
		if err := errors.Join(err, out.Flush()); err != nil {
			return errors.Join(errStarted, err)
		}
	}
	for e, err := range entries {
		switch {
		case err != nil && !begun:
			return err
		case err != nil:
			_, p := d.problem(r, err)
			return errors.Join(errStarted, enc.Encode(p))
		case !begun:
			begin()
		}
		if err := enc.Encode(e); err != nil {
			return errors.Join(errStarted, err)
		}
		if live {
			if err := out.Flush(); err != nil {
				return errors.Join(errStarted, err)
			}
		}
	}
	if !begun {
		if empty != nil {
			return empty
		}
		begin()
	}
	return nil
}

// only refuses parameters that the call doesn't have: a misspelt one would
// silently select too much.
func only(r *http.Request, names ...string) error {
	if err := r.ParseForm(); err != nil {
		return errs.Newf(errs.Invalid, "the query is malformed: %w", err)
	}
	for name := range r.Form {
		if !slices.Contains(names, name) && !strings.HasPrefix(name, "X-Amz-") {
			if len(names) == 0 {
				return errs.Newf(errs.Invalid, "there is no parameter %q here, and no other", name)
			}
			return errs.Newf(errs.Invalid, "there is no parameter %q here; there are: %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// stretch reads the parameters since and until.
func stretch(r *http.Request) (since, until time.Time, err error) {
	for name, t := range map[string]*time.Time{"since": &since, "until": &until} {
		s := r.FormValue(name)
		if s == "" {
			continue
		}
		if *t, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return since, until, errs.Newf(errs.Invalid, "%s must be a time such as 2026-11-23T04:05:06Z, not %q", name, s)
		}
	}
	return since, until, nil
}

// limit reads the parameter of that name; 0 means that there is none.
func limit(r *http.Request, most int) (int, error) {
	s := r.FormValue("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, errs.Newf(errs.Invalid, "limit must be a number from 1 to %d, not %q", most, s)
	}
	return n, nil
}

func flag(r *http.Request, name string) (bool, error) {
	switch s := r.FormValue(name); s {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, errs.Newf(errs.Invalid, "%s must be 0 or 1, not %q", name, s)
	}
}

// Package bus holds event buses: events are put on a bus, and its rules send those
// that match their pattern to targets. A rule may have a timer in place of a
// pattern, or beside it.
package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
	"github.com/mayfly-dev/mayfly/internal/event/when"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Default is the name of the bus that is always there.
const Default = "default"

// Limits, as in the field.
const (
	MaxTargets = 5 // of a rule
	MaxRules   = 300
)

// Reasons of errors.
const (
	ReasonBus     = "Bus"     // NotFound, Conflict: it is about a bus
	ReasonRule    = "Rule"    // NotFound, Conflict: it is about a rule
	ReasonPattern = "Pattern" // Invalid
	ReasonLimit   = "Limit"   // Conflict: too many
	ReasonTargets = "Targets" // Conflict: the rule has targets still
)

// Bus is an event bus.
type Bus struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Created     time.Time         `json:"created"`
}

// Rule sends events of a bus to targets. What the buses hand out is shared and
// must not be changed.
type Rule struct {
	Bus         string            `json:"bus"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Schedule    string            `json:"schedule,omitempty"` // rate(…) or cron(…), in UTC
	Disabled    bool              `json:"disabled,omitempty"`
	Role        string            `json:"role,omitempty"` // opaque
	Tags        map[string]string `json:"tags,omitempty"`
	Targets     []Target          `json:"targets,omitempty"`
	Created     time.Time         `json:"created"`
	Since       time.Time         `json:"since"` // its timer counts from here

	pattern *pattern.Pattern // of Pattern; nil if it has none
	timer   *when.Expression
}

// Target is where a rule sends events, and in what shape.
type Target struct {
	ID         string            `json:"id"`
	To         event.Target      `json:"to"`
	Input      string            `json:"input,omitempty"`     // sent in place of the event
	InputPath  string            `json:"inputPath,omitempty"` // the part of the event that is sent
	Template   string            `json:"template,omitempty"`  // made of parts of the event
	Paths      map[string]string `json:"paths,omitempty"`     // the template's variables
	Group      string            `json:"group,omitempty"`     // of a FIFO queue's messages
	Retries    *int              `json:"retries,omitempty"`
	MaxAge     time.Duration     `json:"maxAge,omitempty"`
	DeadLetter event.Target      `json:"deadLetter,omitzero"`
	Role       string            `json:"role,omitempty"` // opaque
}

// Event is what is put on a bus.
type Event struct {
	ID         string
	Source     string
	DetailType string
	Detail     []byte // a JSON object
	Time       time.Time
	Resources  []string
	TraceID    string
	Lineage    event.Lineage
}

// Format puts events into the shape that patterns and targets see.
type Format interface {
	// Event is the document of an event.
	Event(e Event) []byte
	// Tick is the event of a rule whose timer fires.
	Tick(r *Rule, due time.Time) Event
	// Variables are those that every template has, in JSON: name to value.
	Variables(r *Rule, e Event, document []byte) map[string]json.RawMessage
}

// Options are what Buses are made of. All are required.
type Options struct {
	Bucket  *spine.Bucket
	Courier *delivery.Courier
	Format  Format
	Log     *slog.Logger
}

// Buses keeps all buses and rules. Its methods are safe for concurrent use.
type Buses struct {
	o       Options
	changed func() // told when a timer may have changed; set before use

	writing sync.Mutex // held while something is changed

	mu    sync.RWMutex
	buses map[string]*Bus             // guarded by mu; a Bus never changes
	rules map[string]map[string]*Rule // guarded by mu: by bus and name; a Rule never changes
}

const (
	busKey  = "bus/"
	ruleKey = "rule/"
)

// Open reads all buses from the bucket.
func Open(ctx context.Context, o Options) (*Buses, error) {
	b := &Buses{o: o, changed: func() {}, buses: map[string]*Bus{}, rules: map[string]map[string]*Rule{}}
	err := o.Bucket.List(ctx, "", func(key string, value []byte, _ uint64) error {
		if strings.HasPrefix(key, busKey) {
			bus := new(Bus)
			b.buses[strings.TrimPrefix(key, busKey)] = bus
			return json.Unmarshal(value, bus)
		}
		r := new(Rule)
		if err := json.Unmarshal(value, r); err != nil {
			return fmt.Errorf("read rule %s: %w", key, err)
		}
		if err := r.compile(); err != nil {
			return fmt.Errorf("read rule %s: %w", key, err)
		}
		b.keep(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.buses[Default] == nil {
		b.buses[Default] = &Bus{Name: Default, Created: now()}
		err = b.store(ctx, busKey+Default, b.buses[Default])
	}
	return b, err
}

// OnTimer has f called when a timer may have changed. It is called before the buses are used.
func (b *Buses) OnTimer(f func()) { b.changed = f }

// keep puts a rule into the map; mu is held, or nobody else is there.
func (b *Buses) keep(r *Rule) {
	if b.rules[r.Bus] == nil {
		b.rules[r.Bus] = map[string]*Rule{}
	}
	b.rules[r.Bus][r.Name] = r
}

func (b *Buses) store(ctx context.Context, key string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return b.o.Bucket.Put(ctx, key, body)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

var (
	busName  = regexp.MustCompile(`^[/.\-_A-Za-z0-9]{1,256}$`)
	ruleName = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)
)

// Create makes a bus. It fails with errs.Conflict (ReasonBus) if there is one of
// that name, or errs.Invalid.
func (b *Buses) Create(ctx context.Context, bus Bus) (*Bus, error) {
	if !busName.MatchString(bus.Name) || strings.Contains(bus.Name, "/") {
		return nil, errs.Newf(errs.Invalid, "%q is not the name of an event bus: use letters, digits, '.', '-' and '_'", bus.Name)
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if _, err := b.Get(bus.Name); err == nil {
		return nil, errs.Newf(errs.Conflict, "Event bus %s already exists.", bus.Name).WithReason(ReasonBus)
	}
	bus.Created = now()
	return &bus, b.putBus(ctx, &bus)
}

func (b *Buses) putBus(ctx context.Context, bus *Bus) error {
	if err := b.store(ctx, busKey+bus.Name, bus); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buses[bus.Name] = bus
	return nil
}

// Get returns a bus, or fails with errs.NotFound (ReasonBus).
func (b *Buses) Get(name string) (*Bus, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if bus := b.buses[name]; bus != nil {
		return bus, nil
	}
	return nil, errs.Newf(errs.NotFound, "Event bus %s does not exist.", name).WithReason(ReasonBus)
}

// List returns the buses whose names begin with prefix, sorted.
func (b *Buses) List(prefix string) (list []*Bus) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(b.buses)) {
		if strings.HasPrefix(name, prefix) {
			list = append(list, b.buses[name])
		}
	}
	return list
}

// Delete removes a bus. A bus that does not exist is no error; the default one, and
// one with rules, can't be removed (errs.Conflict).
func (b *Buses) Delete(ctx context.Context, name string) error {
	if name == Default {
		return errs.Newf(errs.Invalid, "Cannot delete event bus default.")
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if _, err := b.Get(name); err != nil {
		return nil
	}
	if len(b.Rules(name, "")) > 0 {
		return errs.Newf(errs.Conflict, "Event bus %s has rules: delete them first.", name).WithReason(ReasonBus)
	}
	if err := b.o.Bucket.Delete(context.WithoutCancel(ctx), busKey+name, 0); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.buses, name)
	return nil
}

// TagBus changes a bus's tags with edit, which gets a copy.
func (b *Buses) TagBus(ctx context.Context, name string, edit func(map[string]string)) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	bus, err := b.Get(name)
	if err != nil {
		return err
	}
	c := *bus
	c.Tags = edited(c.Tags, edit)
	return b.putBus(ctx, &c)
}

func edited(tags map[string]string, edit func(map[string]string)) map[string]string {
	c := maps.Clone(tags)
	if c == nil {
		c = map[string]string{}
	}
	edit(c)
	return c
}

// Package schedule holds timers that people make: each sends one message to one
// target at its times.
package schedule

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
	_ "time/tzdata" // for machines that have no time zones of their own

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/when"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Default is the name of the group that is always there.
const Default = "default"

// MaxWindow is the longest flexible window.
const MaxWindow = 24 * time.Hour

// Reasons of errors.
const (
	ReasonGroup      = "Group"      // NotFound, Conflict: it is about a group
	ReasonSchedule   = "Schedule"   // NotFound, Conflict: it is about a schedule
	ReasonExpression = "Expression" // Invalid
	ReasonZone       = "Zone"       // Invalid
)

// Group is a group of schedules.
type Group struct {
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags,omitempty"`
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
}

// Schedule is one timer. What the Schedules hand out is shared and must not be
// changed.
type Schedule struct {
	Group       string        `json:"group"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Expression  string        `json:"expression"`
	Zone        string        `json:"zone,omitempty"` // "" is UTC
	Start       time.Time     `json:"start,omitzero"`
	End         time.Time     `json:"end,omitzero"`
	Disabled    bool          `json:"disabled,omitempty"`
	Window      time.Duration `json:"window,omitempty"` // it may fire so much later; 0: on time
	Delete      bool          `json:"delete,omitempty"` // after it fired for the last time
	Target      Target        `json:"target"`
	Created     time.Time     `json:"created"`
	Modified    time.Time     `json:"modified"`

	expression *when.Expression
	zone       *time.Location
	told       bool      // Due has told what is due until next; guarded by Schedules.mu
	planned    bool      // next was worked out; guarded by Schedules.mu
	next       time.Time // when it fires next, zero: never; guarded by Schedules.mu
}

// Target is what a schedule sends, and where to.
type Target struct {
	To         event.Target  `json:"to"`
	Input      string        `json:"input,omitempty"`
	Group      string        `json:"group,omitempty"`  // of a FIFO queue's messages
	Source     string        `json:"source,omitempty"` // of a bus's event
	DetailType string        `json:"detailType,omitempty"`
	Retries    *int          `json:"retries,omitempty"`
	MaxAge     time.Duration `json:"maxAge,omitempty"`
	DeadLetter event.Target  `json:"deadLetter,omitzero"`
	Role       string        `json:"role,omitempty"` // opaque
}

// Format says what targets get.
type Format interface {
	// Body is what a schedule sends for a time at which it is due; id is the same
	// in each repetition.
	Body(s *Schedule, due time.Time, id string) []byte
}

// Options are what Schedules are made of. All are required.
type Options struct {
	Bucket *spine.Bucket
	Format Format
	Log    *slog.Logger
}

// Schedules keeps all schedules. Its methods are safe for concurrent use.
type Schedules struct {
	o       Options
	changed func()        // told when a timer may have changed; set before use
	passed  chan struct{} // told when some may be over

	mu        sync.RWMutex
	groups    map[string]*Group               // guarded by mu; a Group never changes
	schedules map[string]map[string]*Schedule // guarded by mu: by group and name
	names     map[string]struct{}             // guarded by mu: keys that are being written
}

const (
	groupKey    = "group/"
	scheduleKey = "schedule/"
)

var nameForm = regexp.MustCompile(`^[0-9a-zA-Z\-_.]{1,64}$`)

// Open reads all schedules from the bucket.
func Open(ctx context.Context, o Options) (*Schedules, error) {
	s := &Schedules{o: o, changed: func() {}, passed: make(chan struct{}, 1), groups: map[string]*Group{}, schedules: map[string]map[string]*Schedule{}, names: map[string]struct{}{}}
	err := o.Bucket.List(ctx, "", func(key string, value []byte, _ uint64) error {
		if strings.HasPrefix(key, groupKey) {
			g := new(Group)
			s.groups[strings.TrimPrefix(key, groupKey)] = g
			return json.Unmarshal(value, g)
		}
		t := new(Schedule)
		if err := json.Unmarshal(value, t); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		if err := t.compile(); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		s.keep(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.groups[Default] == nil {
		g := &Group{Name: Default, Created: now(), Modified: now()}
		s.groups[Default] = g
		err = s.put(ctx, groupKey+Default, g)
	}
	return s, err
}

// OnTimer has f called when a timer may have changed. It is called before the
// schedules are used.
func (s *Schedules) OnTimer(f func()) { s.changed = f }

// keep puts a schedule into the map; mu is held, or nobody else is there.
func (s *Schedules) keep(t *Schedule) {
	if s.schedules[t.Group] == nil {
		s.schedules[t.Group] = map[string]*Schedule{}
	}
	s.schedules[t.Group][t.Name] = t
}

func (s *Schedules) put(ctx context.Context, key string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.o.Bucket.Put(ctx, key, body)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// compile reads what the schedule says of times.
func (t *Schedule) compile() (err error) {
	if t.zone, err = time.LoadLocation(t.Zone); err != nil || t.Zone == "Local" {
		return errs.Newf(errs.Invalid, "there is no time zone %q", t.Zone).WithReason(ReasonZone)
	}
	if t.expression, err = when.Parse(t.Expression); err != nil {
		return errs.Of(err).WithReason(ReasonExpression)
	}
	return nil
}

// check returns errs.Invalid unless the schedule can be kept, and compiles it.
func (t *Schedule) check() error {
	switch {
	case !nameForm.MatchString(t.Name):
		return errs.Newf(errs.Invalid, "%q is not the name of a schedule: use up to 64 letters, digits, '-', '_' and '.'", t.Name)
	case t.Window < 0 || t.Window > MaxWindow:
		return errs.Newf(errs.Invalid, "a flexible window is from 1 minute to %s, not %s", MaxWindow, t.Window)
	case !t.Start.IsZero() && !t.End.IsZero() && !t.Start.Before(t.End):
		return errs.Newf(errs.Invalid, "the start date must come before the end date")
	case t.Target.Input != "" && t.Target.To.Kind != event.Queue && !json.Valid([]byte(t.Target.Input)):
		return errs.Newf(errs.Invalid, "the target's input is not JSON")
	}
	return t.compile()
}

// lock has others wait, or fail, who write the schedule of a key at the same time.
func (s *Schedules) lock(key string) (unlock func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.names[key]; busy {
		return nil, errs.Newf(errs.Conflict, "the schedule is being changed by another request").WithReason(ReasonSchedule)
	}
	s.names[key] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.names, key)
	}, nil
}

// Create makes a schedule. It fails with errs.Conflict if there is one of that name
// in the group, errs.NotFound for the group, or errs.Invalid.
func (s *Schedules) Create(ctx context.Context, t Schedule) (*Schedule, error) {
	return s.write(ctx, t, func(old *Schedule) error {
		if old != nil {
			return errs.Newf(errs.Conflict, "Schedule %s already exists.", t.Name).WithReason(ReasonSchedule)
		}
		return nil
	})
}

// Update replaces a schedule. It fails with errs.NotFound or errs.Invalid.
func (s *Schedules) Update(ctx context.Context, t Schedule) (*Schedule, error) {
	return s.write(ctx, t, func(old *Schedule) error {
		if old == nil {
			return noSchedule(t.Name)
		}
		return nil
	})
}

// write stores a schedule if allow agrees to replace what is there. It is one
// durable write; schedules of different names don't wait for each other.
func (s *Schedules) write(ctx context.Context, t Schedule, allow func(old *Schedule) error) (*Schedule, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	key := scheduleKey + t.Group + "/" + t.Name
	unlock, err := s.lock(key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := s.Group(t.Group); err != nil {
		return nil, err
	}
	old, _ := s.Get(t.Group, t.Name) // nil if there is none
	if err := allow(old); err != nil {
		return nil, err
	}
	t.Modified = now()
	t.Created = t.Modified
	if old != nil {
		t.Created = old.Created
	}
	if err := s.put(ctx, key, &t); err != nil {
		return nil, err
	}
	s.mu.Lock()
	t.plan(t.Modified)
	s.keep(&t)
	s.mu.Unlock()
	s.changed()
	return &t, nil
}

func noSchedule(name string) error {
	return errs.Newf(errs.NotFound, "Schedule %s does not exist.", name).WithReason(ReasonSchedule)
}

// Get returns a schedule, or fails with errs.NotFound.
func (s *Schedules) Get(group, name string) (*Schedule, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.schedules[group][name]; t != nil {
		return t, nil
	}
	return nil, noSchedule(name)
}

// Delete removes a schedule, or fails with errs.NotFound.
func (s *Schedules) Delete(ctx context.Context, group, name string) error {
	return s.remove(ctx, group, name, nil)
}

// remove is Delete; unless only is nil, nothing else is removed.
func (s *Schedules) remove(ctx context.Context, group, name string, only *Schedule) error {
	key := scheduleKey + group + "/" + name
	unlock, err := s.lock(key)
	if err != nil {
		return err
	}
	defer unlock()
	t, err := s.Get(group, name)
	if err != nil {
		return err
	}
	if only != nil && t != only {
		return nil // it was changed
	}
	if err := s.o.Bucket.Delete(context.WithoutCancel(ctx), key, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.schedules[group], name)
	return nil
}

// List returns the schedules of a group, or of all groups if it is "", whose names
// begin with prefix, sorted by group and name.
func (s *Schedules) List(group, prefix string) (list []*Schedule) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for g, all := range s.schedules {
		if group != "" && g != group {
			continue
		}
		for name, t := range all {
			if strings.HasPrefix(name, prefix) {
				list = append(list, t)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Schedule) int {
		return strings.Compare(a.Group+"/"+a.Name, b.Group+"/"+b.Name)
	})
	return list
}

// CreateGroup makes a group. It fails with errs.Conflict or errs.Invalid.
func (s *Schedules) CreateGroup(ctx context.Context, g Group) (*Group, error) {
	if !nameForm.MatchString(g.Name) {
		return nil, errs.Newf(errs.Invalid, "%q is not the name of a group: use up to 64 letters, digits, '-', '_' and '.'", g.Name)
	}
	unlock, err := s.lock(groupKey + g.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := s.Group(g.Name); err == nil {
		return nil, errs.Newf(errs.Conflict, "Schedule group %s already exists.", g.Name).WithReason(ReasonGroup)
	}
	g.Created = now()
	g.Modified = g.Created
	return &g, s.putGroup(ctx, &g)
}

func (s *Schedules) putGroup(ctx context.Context, g *Group) error {
	if err := s.put(ctx, groupKey+g.Name, g); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[g.Name] = g
	return nil
}

// Group returns a group, or fails with errs.NotFound.
func (s *Schedules) Group(name string) (*Group, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g := s.groups[name]; g != nil {
		return g, nil
	}
	return nil, errs.Newf(errs.NotFound, "Schedule group %s does not exist.", name).WithReason(ReasonGroup)
}

// Groups returns the groups whose names begin with prefix, sorted.
func (s *Schedules) Groups(prefix string) (list []*Group) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		if strings.HasPrefix(name, prefix) {
			list = append(list, s.groups[name])
		}
	}
	return list
}

// TagGroup changes a group's tags with edit, which gets a copy.
func (s *Schedules) TagGroup(ctx context.Context, name string, edit func(map[string]string)) error {
	unlock, err := s.lock(groupKey + name)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.Group(name)
	if err != nil {
		return err
	}
	g := *old
	if g.Tags = maps.Clone(g.Tags); g.Tags == nil {
		g.Tags = map[string]string{}
	}
	edit(g.Tags)
	g.Modified = now()
	return s.putGroup(ctx, &g)
}

// DeleteGroup removes a group with its schedules. The default one can't be removed.
func (s *Schedules) DeleteGroup(ctx context.Context, name string) error {
	if name == Default {
		return errs.Newf(errs.Invalid, "The default schedule group can't be deleted.")
	}
	if _, err := s.Group(name); err != nil {
		return err
	}
	for _, t := range s.List(name, "") {
		if err := s.Delete(ctx, name, t.Name); err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
	}
	if err := s.o.Bucket.Delete(context.WithoutCancel(ctx), groupKey+name, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, name)
	return nil
}

// Package logs is the door for Amazon CloudWatch Logs' API. A log group is one or
// more logs of the node's store: the one of the function whose group it is,
// those of all functions whose owner chose it, and what clients put there. A log
// stream is what one instance wrote.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

// Functions lists functions: see function.Registry.List.
type Functions interface {
	List(after string, most int) (page []*function.Version, more bool)
}

// Options are what a Door is made of. All are required.
type Options struct {
	Region    string
	Account   string // 12 digits
	Store     *logs.Store
	Functions Functions
}

// Door serves CloudWatch Logs' API. It is safe for concurrent use.
type Door struct{ o Options }

var _ API = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door { return &Door{o} }

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service { return NewService(d) }

// group is a log group and what it is made of.
type group struct {
	name string
	logs []string // names in the store
	own  string   // of logs, the one that takes what clients put
}

var groupForm = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)

// ownGroup begins the names of the groups of functions whose owner chose none.
var ownGroup = guest.OwnLogGroup("")

// putLog names the log of what clients put into a group that is no function's.
// It is longer than any function's name.
func putLog(group string) string {
	sum := sha256.Sum256([]byte(group))
	return "group_" + hex.EncodeToString(sum[:])
}

// groups returns all groups by name.
func (d *Door) groups() (map[string]*group, error) {
	all := map[string]*group{}
	at := func(name string) *group {
		g := all[name]
		if g == nil {
			g = &group{name: name, own: putLog(name)}
			all[name] = g
		}
		return g
	}
	placed := map[string]bool{}
	for after, more := "", true; more; {
		var page []*function.Version
		page, more = d.o.Functions.List(after, 1000)
		for _, v := range page {
			g := at(guest.LogGroup(v))
			g.logs = append(g.logs, v.Function)
			if g.name == guest.OwnLogGroup(v.Function) {
				g.own = v.Function
			}
			placed[v.Function] = true
			after = v.Function
		}
		more = more && len(page) > 0
	}
	list, err := d.o.Store.List()
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if placed[l.Name] {
			continue
		}
		name := l.Settings.Name
		if name == "" { // of a function that is gone
			name = guest.OwnLogGroup(l.Name)
		}
		g := at(name)
		if l.Settings.Name == "" {
			g.own = l.Name
		}
		g.logs = append(g.logs, l.Name)
	}
	return all, nil
}

// find returns the group that a request names, by its name or by its ARN.
func (d *Door) find(name, identifier *string) (*group, error) {
	want := wire.Value(name)
	if want == "" {
		want = wire.Value(identifier)
	}
	if want == "" {
		return nil, invalid("1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null")
	}
	if rest, ok := strings.CutPrefix(want, d.prefix()); ok {
		want = strings.TrimSuffix(rest, ":*")
	}
	if !groupForm.MatchString(want) {
		return nil, invalid(`1 validation error detected: Value '%.100s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`, want)
	}
	all, err := d.groups()
	if err != nil {
		return nil, err
	}
	g := all[want]
	if g == nil {
		return nil, noGroup()
	}
	return g, nil
}

// prefix begins the ARNs of log groups.
func (d *Door) prefix() string {
	return "arn:aws:logs:" + d.o.Region + ":" + d.o.Account + ":log-group:"
}

func noGroup() error {
	return wire.Errorf(CodeResourceNotFound, "The specified log group does not exist.")
}

func noStream() error {
	return wire.Errorf(CodeResourceNotFound, "The specified log stream does not exist.")
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(CodeInvalidParameter, format, args...)
}

// fail words an error of the store.
func fail(err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	switch errs.KindOf(err) {
	case errs.Invalid:
		return invalid("%s", err.Error())
	case errs.NotFound:
		return noGroup()
	case errs.Unavailable:
		return &wire.Error{Code: CodeServiceUnavailable, Message: err.Error(), Status: 503, Err: err}
	}
	return err
}

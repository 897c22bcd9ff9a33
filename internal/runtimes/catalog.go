// Package runtimes is the catalog of language runtimes: which names a function
// may ask for, and which interpreter of this machine serves each.
package runtimes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Family is a kind of runtime: it selects the bootstrap and the root image.
type Family string

// The families.
const (
	Python   Family = "python"
	Node     Family = "node"
	Provided Family = "provided" // the code package brings an executable "bootstrap"
)

// Runtime is what serves a runtime name on this machine. It is a value.
type Runtime struct {
	Name        string // as asked for: "python3.13", "provided.al2023"
	Family      Family
	Version     string // of what serves it: "3.11.2", "20.20.2"; "" if Provided
	Interpreter string // the host's executable, free of symbolic links; "" if Provided
	Command     string // its name in the bin directory of a root: "python3.11", "node"; "" if Provided
	Warning     string // why something else than Name serves it, a sentence for the owner; or ""
	Home        Home   // where a Python interpreter's own files are
}

// Home tells where a Python interpreter keeps its own files, as it told itself.
type Home struct {
	Prefix string // "/usr"
	Stdlib string // "/usr/lib/python3.11"
	Cache  string // tag of its compiled files: "cpython-311"
	CAFile string // where its OpenSSL looks for certificates, may be ""
}

// Resolved describes what serves the runtime: "python3.11 (3.11.2)".
func (r Runtime) Resolved() string {
	if r.Family == Provided {
		return string(Provided)
	}
	return fmt.Sprintf("%s (%s)", r.Command, r.Version)
}

const (
	minPython, maxPython = 8, 14
)

var (
	nodeMajors = []int{18, 20, 22, 24}
	// The order is the one that Names gives.
	provided = []string{"provided.al2023", "provided.al2", "provided", "go1.x"}
)

// Names returns all names that Resolve knows, whether or not this machine has
// what serves them.
func Names() []string {
	var names []string
	for m := minPython; m <= maxPython; m++ {
		names = append(names, fmt.Sprintf("python3.%d", m))
	}
	for _, m := range nodeMajors {
		names = append(names, fmt.Sprintf("nodejs%d.x", m))
	}
	return append(names, provided...)
}

// retired are names that the field knows and that no longer take functions,
// with what to use instead.
var retired = map[string]string{
	"python2.7": "python3.13", "python3.6": "python3.13", "python3.7": "python3.13",
	"nodejs": "nodejs22.x", "nodejs4.3": "nodejs22.x", "nodejs4.3-edge": "nodejs22.x", "nodejs6.10": "nodejs22.x",
	"nodejs8.10": "nodejs22.x", "nodejs10.x": "nodejs22.x", "nodejs12.x": "nodejs22.x", "nodejs14.x": "nodejs22.x", "nodejs16.x": "nodejs22.x",
}

// unserved are languages whose runtimes this node does not offer.
var unserved = []string{"java", "ruby", "dotnet"}

// Resolve returns what serves name. If the machine lacks the version asked for,
// the nearest of the language serves it with a Warning; in a Strict catalog,
// and when there is none, the error is of kind errs.Unsupported. Unknown and
// retired names are of kind errs.Invalid.
func (c *Catalog) Resolve(name string) (Runtime, error) {
	if minor, ok := pythonMinor(name); ok {
		return c.nearest(name, Python, minor)
	}
	if major, ok := nodeMajor(name); ok {
		return c.nearest(name, Node, major)
	}
	if slices.Contains(provided, name) {
		r := Runtime{Name: name, Family: Provided}
		if name == "go1.x" {
			r.Warning = "go1.x is served like provided.al2023: the code package needs an executable named bootstrap."
		}
		return r, nil
	}
	return Runtime{}, refuse(name)
}

func refuse(name string) error {
	if use, ok := retired[name]; ok {
		return errs.Newf(errs.Invalid, "The runtime %s is retired and no longer takes functions. Use %s.", name, use)
	}
	for _, language := range unserved {
		if strings.HasPrefix(name, language) {
			return errs.Newf(errs.Unsupported, "The runtime %s is not offered here. Runtimes on offer: %s.", name, strings.Join(Names(), ", "))
		}
	}
	return errs.Newf(errs.Invalid, "There is no runtime %q. Runtimes on offer: %s.", name, strings.Join(Names(), ", "))
}

// nearest picks the interpreter whose number is closest to want; of two as
// close the newer one, which is the likelier to run code made for want.
func (c *Catalog) nearest(name string, family Family, want int) (Runtime, error) {
	var best *found
	for i := range c.found {
		f := &c.found[i]
		if f.family != family {
			continue
		}
		if best == nil || closer(f.number, best.number, want) {
			best = f
		}
	}
	switch {
	case best == nil:
		return Runtime{}, errs.Newf(errs.Unsupported, "This machine has nothing to run %s with. %s", name, install(family, want))
	case best.number == want:
		return best.runtime(name), nil
	case c.strict:
		return Runtime{}, errs.Newf(errs.Unsupported, "This machine lacks what %s asks for, and only exact versions are allowed here. The nearest is %s. %s",
			name, best.runtime(name).Resolved(), install(family, want))
	}
	r := best.runtime(name)
	r.Warning = fmt.Sprintf("%s was asked for, but this machine lacks it: %s at %s serves the function instead. %s",
		name, r.Resolved(), r.Interpreter, install(family, want))
	return r, nil
}

func closer(a, b, want int) bool {
	da, db := abs(a-want), abs(b-want)
	return da < db || da == db && a > b
}

func abs(n int) int { return max(n, -n) }

// install says how to get what is missing.
func install(family Family, number int) string {
	if family == Python {
		return fmt.Sprintf("To get it, install Python 3.%d (for example `apt-get install python3.%[1]d` or `pyenv install 3.%[1]d`) and restart the node.", number)
	}
	return fmt.Sprintf("To get it, install Node.js %d (for example `nvm install %[1]d`) and restart the node.", number)
}

func pythonMinor(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, "python3.")
	n, err := strconv.Atoi(rest)
	return n, ok && err == nil && n >= minPython && n <= maxPython && rest == strconv.Itoa(n)
}

func nodeMajor(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, "nodejs")
	rest, x := strings.CutSuffix(rest, ".x")
	n, err := strconv.Atoi(rest)
	return n, ok && x && err == nil && slices.Contains(nodeMajors, n) && rest == strconv.Itoa(n)
}

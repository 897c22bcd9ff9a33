// Package function holds the words that the field uses for deployed code
// (function, version, alias, tag), their rules, and the registry that keeps them.
package function

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"time"

	"github.com/mayfly-dev/mayfly/internal/event"
)

// Latest is the name of the one version that can change.
const Latest = "$LATEST"

// State is where a version is in its life.
type State string

// The states of a version. An update of an Active version keeps it Active and
// shows in its Update field.
const (
	Pending  State = "Pending"  // the image is being built
	Active   State = "Active"   // can be invoked
	Inactive State = "Inactive" // unused for long, its image was removed
	Failed   State = "Failed"   // can't be invoked; StateReason says why
)

// UpdateStatus is the outcome of the last change of a version.
type UpdateStatus string

// The outcomes of an update.
const (
	UpdateSuccessful UpdateStatus = "Successful"
	UpdateInProgress UpdateStatus = "InProgress"
	UpdateFailed     UpdateStatus = "Failed"
)

// Code names a code package in the blob store.
type Code struct {
	SHA256 string `json:"sha256"` // of the package's bytes, lower-case hex
	Size   int64  `json:"size"`   // bytes, compressed
}

// keyOfCode begins the keys of code packages: others may share the blob store.
const keyOfCode = "code-"

// Key is the package's key in the blob store.
func (c Code) Key() string { return keyOfCode + c.SHA256 }

// Config is what an owner chooses for a version. It is a value: copies don't
// share maps after Clone.
type Config struct {
	Description  string            `json:"description,omitempty"`
	Runtime      string            `json:"runtime"`
	Handler      string            `json:"handler,omitempty"`
	Role         string            `json:"role,omitempty"` // opaque to the core
	MemoryMB     int               `json:"memoryMB"`
	Timeout      time.Duration     `json:"timeout"`
	TmpMB        int               `json:"tmpMB"`
	Env          map[string]string `json:"env,omitempty"`
	Architecture string            `json:"architecture"` // GOARCH spelling: amd64, arm64
	Tracing      string            `json:"tracing,omitempty"`
	Logging      Logging           `json:"logging,omitzero"`
	Snapshot     string            `json:"snapshot,omitempty"`  // "" lets the node decide; see SnapshotOff
	DeadLetter   event.Target      `json:"deadLetter,omitzero"` // gets the asynchronous calls that failed
	Web          *Web              `json:"web,omitempty"`       // nil for code that asks for calls
}

// What an owner may choose for Config.Snapshot. A node that is left to decide
// starts instances from snapshots wherever it can.
const (
	SnapshotOff       = "off"       // each instance runs the code's init
	SnapshotPublished = "published" // wanted for published versions
)

// Clone returns a copy of c that shares nothing with it.
func (c Config) Clone() Config {
	c.Env, c.Web = maps.Clone(c.Env), c.Web.clone()
	return c
}

// Version is a function's code and configuration at one point. Only the
// version named Latest changes, and a change makes a new Version: what the
// Registry hands out is shared, and must be cloned before it is edited.
type Version struct {
	Function string `json:"function"`
	Version  string `json:"version"` // Latest, or a number from 1 on
	Config
	Code     Code      `json:"code"`
	Revision string    `json:"revision"`         // changes with each change of the version
	Source   string    `json:"source,omitempty"` // of a published one: identifies what it was published from
	Modified time.Time `json:"modified"`

	State            State        `json:"state"`
	StateReason      string       `json:"stateReason,omitempty"`
	StateReasonCode  string       `json:"stateReasonCode,omitempty"`
	Update           UpdateStatus `json:"update"`
	UpdateReason     string       `json:"updateReason,omitempty"`
	UpdateReasonCode string       `json:"updateReasonCode,omitempty"`
	RuntimeWarning   string       `json:"runtimeWarning,omitempty"`  // why another interpreter than the one named serves it
	RuntimeResolved  string       `json:"runtimeResolved,omitempty"` // what serves it, e.g. "python3.11 (3.11.7)"

	// sealed is set by seal: the version that fingerprint was computed for. It
	// differs from the version's own address in a copy.
	sealed      *Version
	fingerprint string
}

// Clone returns a copy of v that shares nothing with it.
func (v *Version) Clone() *Version {
	c := *v
	c.Config = v.Config.Clone()
	c.sealed, c.fingerprint = nil, ""
	return &c
}

// seal computes the fingerprint once, for a version that will not change any
// more.
func (v *Version) seal() *Version {
	if v.sealed == v {
		return v // and may be shared already: don't write
	}
	v.fingerprint = v.Fingerprint()
	v.sealed = v
	return v
}

// Fingerprint identifies everything that an instance of v is made from: two
// versions with equal fingerprints can share instances, others never do.
func (v *Version) Fingerprint() string {
	if v.sealed == v {
		return v.fingerprint
	}
	key := struct {
		F, V string
		C    Config
		S    string
	}{v.Function, v.Version, v.Config, v.Code.SHA256}
	key.C.Description, key.C.DeadLetter = "", event.Target{}
	b, err := json.Marshal(key)
	if err != nil {
		panic("function: a Config always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

package function

import (
	"slices"
	"strconv"
)

// Limits and defaults of a Web.
const (
	MaxWebConcurrency = 1000
	DefaultWebPort    = 8080
)

// Web says that a version is a program which serves HTTP by itself. It finds the
// port to listen on in PORT, and gets SIGTERM before its end.
type Web struct {
	Command     []string `json:"command"`         // program and arguments; looked up in the code, then in PATH
	Port        int      `json:"port,omitempty"`  // that it listens on; where instances share a network each has its own
	Ready       string   `json:"ready,omitempty"` // path of a request that is answered once it can work; "" for the first accepted connection
	Events      string   `json:"events"`          // path to which events that are no HTTP requests are posted
	Concurrency int      `json:"concurrency"`     // requests at one time in an instance
}

func (w *Web) clone() *Web {
	if w == nil {
		return nil
	}
	c := *w
	c.Command = slices.Clone(w.Command)
	return &c
}

// Width returns how many calls an instance of v takes at one time.
func (v *Version) Width() int {
	if v.Web == nil {
		return 1
	}
	return max(1, v.Web.Concurrency)
}

// web adds the rules that w breaks.
func (vs *Violations) web(w *Web) {
	if w == nil {
		return
	}
	if len(w.Command) == 0 {
		vs.add(FieldWeb, Required, "", "")
	}
	if w.Concurrency < 1 {
		vs.add(FieldWeb, AtLeast, strconv.Itoa(w.Concurrency), "1")
	} else if w.Concurrency > MaxWebConcurrency {
		vs.add(FieldWeb, AtMost, strconv.Itoa(w.Concurrency), strconv.Itoa(MaxWebConcurrency))
	}
	if w.Port < 1024 || w.Port > 65535 {
		vs.add(FieldWeb, Pattern, strconv.Itoa(w.Port), "a port from 1024 to 65535")
	}
	for _, path := range []string{w.Ready, w.Events} {
		if path != "" && path[0] != '/' {
			vs.add(FieldWeb, Pattern, path, "a path that begins with /")
		}
	}
}

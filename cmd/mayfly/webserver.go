package main

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// web is the [web] table of a project file: the function is a program that serves
// HTTP by itself. Lambda's API has no parameter for that, so it is told in the
// function's environment.
type web struct {
	Command     string `toml:"command"`     // program and arguments, split at spaces
	Ready       string `toml:"ready"`       // path that answers once it can work; "" for its first accepted connection
	Port        int    `toml:"port"`        // that it listens on, if not the one in PORT
	Concurrency int    `toml:"concurrency"` // requests at one time in an instance
}

// environment adds what tells the node of a web server.
func (w *web) environment(env map[string]string) map[string]string {
	if w.Command == "" {
		return env
	}
	if env == nil {
		env = map[string]string{}
	}
	env["MAYFLY_WEB_COMMAND"] = w.Command
	if w.Ready != "" {
		env["AWS_LWA_READINESS_CHECK_PATH"] = w.Ready
	}
	if w.Port != 0 {
		env["AWS_LWA_PORT"] = strconv.Itoa(w.Port)
	}
	if w.Concurrency != 0 {
		env["MAYFLY_WEB_CONCURRENCY"] = strconv.Itoa(w.Concurrency)
	}
	return env
}

// inferWeb fills in the runtime of a web server by its command, and else by its
// files. It has no handler: what is called so is the program.
func (p *project) inferWeb(have []runtimeInfo) error {
	words := strings.Fields(p.Web.Command)
	program := path.Base(words[0])
	family := customOS
	switch {
	case program == "node" || program == "npm" || program == "npx":
		family = familyNode
	case strings.HasPrefix(program, "python"):
		family = familyPython
	default:
		guesses, err := p.guesses()
		if err != nil {
			return err
		}
		for _, g := range guesses {
			if g.buildGo && program == "bootstrap" {
				p.buildGo = true
			}
		}
	}
	if p.Runtime == "" {
		var err error
		if p.Runtime, err = newest(have, family); err != nil {
			return err
		}
	}
	if p.buildGo && !strings.HasPrefix(p.Runtime, "provided") {
		return fmt.Errorf("a Go program runs on %s, not on %s", customOS, p.Runtime)
	}
	if p.Handler == "" {
		p.Handler = program
	}
	return nil
}

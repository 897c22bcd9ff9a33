// The number of processors is of no interest to one thread, and looking for it
// in control groups costs a cold start time and descriptors.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// The agent is the first process of a sandbox that runs a custom runtime. It
// serves Lambda's Runtime API on the loopback interface inside the sandbox,
// runs the function's bootstrap as its child, and carries calls between the two
// over the link to the host (standard input and output; see package sandbox for
// the frames). The log is standard error.
//
//	agent serve PORT LIMIT       run LAMBDA_TASK_ROOT/bootstrap or /opt/bootstrap
//	agent start ADDRESS          the same, with the Runtime API served by another at ADDRESS
//	agent exec PROGRAM [ARG]...  become PROGRAM, with the link on 3 and 4
//	agent web PORT PATH COMMAND [ARG]...  run a program that serves HTTP by itself
//
// PORT 0 takes any free port. LIMIT is the most bytes that an answer may have.
// exec is for language runtimes that speak frames themselves and can't move
// descriptors.
//
// One thread polls; it has no HTTP library, because an instance costs its size
// in memory and each call its latency.
package main

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest/runtimeapi"
)

func main() {
	if len(os.Args) >= 3 && os.Args[1] == "exec" {
		fatal("exec "+os.Args[2], become(os.Args[2:]))
	}
	if len(os.Args) >= 5 && os.Args[1] == "web" {
		port, err := strconv.Atoi(os.Args[2])
		if err != nil {
			fatal("port", err)
		}
		serveWeb(port, os.Args[3], os.Args[4:])
	}
	if len(os.Args) == 3 && os.Args[1] == "start" {
		var never atomic.Bool
		reap(startChild(newLink(), os.Args[2]), &never)
	}
	if len(os.Args) != 4 || os.Args[1] != "serve" {
		fatal("usage: agent serve PORT LIMIT | agent start ADDRESS | agent web PORT PATH COMMAND [ARG]... | agent exec PROGRAM [ARG]...", nil)
	}
	port, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fatal("port", err)
	}
	limit, err := strconv.Atoi(os.Args[3])
	if err != nil {
		fatal("limit", err)
	}
	runtime.LockOSThread()
	serve(port, limit)
}

func serve(port, limit int) {
	s := newServer(newLink(), limit)
	addr, err := s.listen(port)
	if err != nil {
		fatal("listen on the loopback interface", err)
	}
	s.child = startChild(s.link, addr)
	go reap(s.child, &s.ending)
	if err := s.run(); err != io.EOF {
		fatal("serve", err)
	}
	os.Exit(0) // the host is gone
}

// startChild runs the function's bootstrap. Where that can't be, the host is told.
func startChild(l *link, addr string) int {
	child, words := start(syscall.Environ(), addr)
	if words != "" {
		refuse(l, words)
	}
	return child
}

// refuse tells the host why there is nothing to run, and ends the agent.
func refuse(l *link, words string) {
	const typ = "Runtime.InvalidEntrypoint"
	if err := l.send(runtimeapi.FrameInitError, runtimeapi.ErrorTypeHeader(typ), runtimeapi.ErrorDocument(typ, words)); err != nil {
		fatal("write to the link", err)
	}
	os.Exit(1)
}

// fatal says what went wrong and ends the agent, and with it the sandbox.
func fatal(what string, err error) {
	if err != nil {
		what += ": " + err.Error()
	}
	_, _ = os.Stderr.WriteString("mayfly: agent: " + what + "\n") // nowhere else to say it
	os.Exit(2)
}

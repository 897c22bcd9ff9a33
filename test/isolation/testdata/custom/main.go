// A hostile custom runtime: it speaks the Runtime API over HTTP and abuses it,
// the agent that serves it, and the link to the host behind the agent.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var api = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"

func main() {
	for {
		resp, err := http.Get(api + "invocation/next")
		if err != nil {
			os.Exit(1)
		}
		event, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		var e struct{ Do string }
		json.Unmarshal(event, &e)
		answer, _ := json.Marshal(attack(e.Do, id))
		post("invocation/"+id+"/response", answer)
	}
}

func attack(do, id string) any {
	switch do {
	case "echo":
		return "fine"
	case "abuse the api":
		return abuse()
	case "raw garbage":
		return rawGarbage()
	case "many connections":
		return manyConnections()
	case "kill init":
		return fmt.Sprint(syscall.Kill(1, syscall.SIGKILL))
	case "kill all":
		return fmt.Sprint(syscall.Kill(-1, syscall.SIGKILL))
	case "ptrace init":
		return fmt.Sprint(syscall.PtraceAttach(1))
	case "open the link":
		return openLink()
	case "answer and exit":
		post("invocation/"+id+"/response", []byte(`"answered"`))
		os.Exit(3)
	case "exit":
		os.Exit(3)
	case "namespaces":
		return map[string]string{
			"user":  fmt.Sprint(syscall.Unshare(syscall.CLONE_NEWUSER)),
			"mount": fmt.Sprint(syscall.Unshare(syscall.CLONE_NEWNS)),
			"net":   fmt.Sprint(syscall.Unshare(syscall.CLONE_NEWNET)),
		}
	}
	return "unknown: " + do
}

// abuse sends requests that the API must refuse, and returns their statuses.
func abuse() map[string]int {
	return map[string]int{
		"unknown id":    post("invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response", []byte("{}")),
		"id with slash": post("invocation/../../x/response", []byte("{}")),
		"no such path":  post("invocation/x/nothing", nil),
		"long path":     post("invocation/"+strings.Repeat("x", 100_000)+"/response", nil),
		"late init":     post("init/error", []byte("{}")),
	}
}

func post(path string, body []byte) int {
	resp, err := http.Post(api+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return -1
	}
	resp.Body.Close()
	return resp.StatusCode
}

// rawGarbage sends what is no HTTP, each time on a new connection.
func rawGarbage() string {
	for _, data := range []string{
		"\x00\x01\x02\xff", "GET", strings.Repeat("A", 1<<20), "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n",
		"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
		"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
	} {
		c, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
		if err != nil {
			return err.Error()
		}
		c.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(c, data)
		io.Copy(io.Discard, c)
		c.Close()
	}
	return "sent"
}

func manyConnections() string {
	var held []net.Conn
	for range 500 {
		c, err := net.DialTimeout("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"), 100*time.Millisecond)
		if err != nil {
			break
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Close()
	}
	return "held"
}

// openLink tries to get at the agent's descriptors.
func openLink() map[string]string {
	out := map[string]string{}
	names, err := filepath.Glob("/proc/1/fd/*")
	out["list"] = fmt.Sprint(len(names), err)
	for fd := range 10 {
		path := fmt.Sprintf("/proc/1/fd/%d", fd)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			out[path] = err.Error()
			continue
		}
		_, err = f.Write([]byte("\xff\xff\xff\xff garbage from the guest"))
		out[path] = fmt.Sprint("wrote: ", err)
		f.Close()
	}
	return out
}

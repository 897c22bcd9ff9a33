// Command hostile is a function's bootstrap that does to the Runtime API what its
// calls say, over connections of its own, and answers with what came of it.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const api = "http://127.0.0.1:9001/2018-06-01/runtime/"

// split is a connection with a request that is not complete.
var split net.Conn

func main() {
	split = dial()
	io.WriteString(split, "GET /x HTTP/1.1\r\nHo")
	for {
		res, err := http.Get(api + "invocation/next")
		if err != nil {
			fatal(err)
		}
		act, err := io.ReadAll(res.Body)
		if err != nil {
			fatal(err)
		}
		do, ok := acts[string(act)]
		if !ok {
			fatal(fmt.Errorf("no act %q", act))
		}
		var body io.Reader = strings.NewReader(do())
		req, err := http.NewRequest("POST", api+"invocation/"+res.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", body)
		if err != nil {
			fatal(err)
		}
		if string(act) == "stream" {
			req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
			req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 20<<20)), -1
		}
		if res, err = http.DefaultClient.Do(req); err != nil {
			fatal(err)
		}
		res.Body.Close()
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func dial() net.Conn {
	c, err := net.Dial("tcp", "127.0.0.1:9001")
	if err != nil {
		fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// status sends a request in pieces, and returns the status of the answer and
// whether the connection ends with it.
func status(pieces ...string) string {
	c := dial()
	defer c.Close()
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // it may have its answer
		}
	}
	return answer(c)
}

func answer(c net.Conn) string {
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err.Error()
	}
	io.Copy(io.Discard, res.Body)
	if res.Close {
		if _, err := r.ReadByte(); err != io.EOF {
			return "no end: " + fmt.Sprint(err)
		}
	}
	return fmt.Sprint(res.StatusCode)
}

var acts = map[string]func() string{
	"echo":    func() string { return "echo" },
	"stream":  func() string { return "" },
	"exit":    func() string { os.Exit(7); return "" },
	"finish":  func() string { io.WriteString(split, "st: x\r\n\r\n"); return answer(split) },
	"slow":    func() string { return status(strings.Split("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "")...) },
	"garbage": func() string { return status("\x16\x03\x01\x02\x00 \x00\r\n\r\n") },
	"smuggle": func() string {
		return status("POST /x HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	},
	"long head": func() string { return status("GET /x HTTP/1.1\r\nA: ", strings.Repeat("x", 100<<10)) },
	"long path": func() string { return status("GET /" + strings.Repeat("x", 9<<10) + " HTTP/1.1\r\n\r\n") },
	"pipelined": func() string {
		return status("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n") + ""
	},
	"half": func() string {
		c := dial()
		defer c.Close()
		io.WriteString(c, "GET /x HTTP/1.1\r\n")
		c.(*net.TCPConn).CloseWrite()
		_, err := c.Read(make([]byte, 1))
		return err.Error()
	},
	"many":   many,
	"hold":   hold,
	"unread": unread,
	"socket": socket,
	"flood":  flood,
}

// many opens connections until no more is taken, twice.
func many() string {
	var n []string
	for range 2 {
		var open []net.Conn
		for {
			c, err := net.Dial("tcp", "127.0.0.1:9001")
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range open {
			c.Close()
		}
		n = append(n, fmt.Sprint(len(open) > 50 && len(open) <= 64))
	}
	return strings.Join(n, " ")
}

// hold sends most of a large body on each of many connections.
func hold() string {
	refused := 0
	var open []net.Conn
	part := make([]byte, 3<<20)
	for range 20 {
		c := dial()
		open = append(open, c)
		io.WriteString(c, "POST /x HTTP/1.1\r\nContent-Length: 6000000\r\n\r\n")
		c.Write(part)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if answer(c) == "503" {
			refused++
		}
	}
	for _, c := range open {
		c.Close()
	}
	return fmt.Sprint(refused > 10)
}

// unread sends requests and reads no answer, until nothing is taken any more.
func unread() string {
	c := dial()
	defer c.Close()
	for range 1 << 16 {
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\n\r\n"); err != nil {
			return "bounded"
		}
	}
	return "unbounded"
}

// socket looks at a connection as C programs do.
func socket() string {
	var out []string
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
		if err != nil {
			return err.Error()
		}
		var to syscall.Sockaddr = &syscall.SockaddrInet4{Port: 9001, Addr: [4]byte{127, 0, 0, 1}}
		if family == syscall.AF_INET6 { // as Java does
			to = &syscall.SockaddrInet6{Port: 9001, Addr: [16]byte{10: 0xff, 0xff, 127, 0, 0, 1}}
		}
		if err := syscall.Connect(fd, to); err != nil {
			return "connect: " + err.Error()
		}
		out = append(out, fmt.Sprint(syscall.Connect(fd, to)))
		local, err := syscall.Getsockname(fd)
		peer, err2 := syscall.Getpeername(fd)
		soError, err3 := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err != nil || err2 != nil || err3 != nil || soError != 0 || local == nil || peer == nil {
			return fmt.Sprint(err, err2, err3, soError)
		}
		syscall.Write(fd, []byte("GET /x HTTP/1.1\r\n\r\n"))
		peeked, all := make([]byte, 12), make([]byte, 4096)
		n, _, err := syscall.Recvfrom(fd, peeked, syscall.MSG_PEEK)
		m, err2 := syscall.Read(fd, all)
		if err != nil || err2 != nil || !bytes.HasPrefix(all[:m], peeked[:n]) || n != 12 {
			return fmt.Sprintf("%v %v %q %q", err, err2, peeked[:n], all[:m])
		}
		syscall.Shutdown(fd, syscall.SHUT_RDWR)
		n, err = syscall.Read(fd, all)
		out = append(out, fmt.Sprint(n, err))
		syscall.Close(fd)
	}
	return strings.Join(out, "; ")
}

// flood does all of it from many threads at once.
func flood() string {
	var all sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	junk := []string{
		"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n", "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
		"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n",
		"10\r\n0123456789abcdef\r\n", "0\r\n\r\n", "\r\n", "\x00\xff", strings.Repeat("y", 70<<10),
	}
	for range 40 {
		all.Go(func() {
			for time.Now().Before(end) {
				c, err := net.Dial("tcp", "127.0.0.1:9001")
				if err != nil {
					continue
				}
				var both sync.WaitGroup
				both.Go(func() {
					c.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(5)) * time.Millisecond))
					io.CopyN(io.Discard, c, 1000)
					if rand.IntN(2) == 0 {
						c.Close()
					}
				})
				for range rand.IntN(6) {
					c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
					io.WriteString(c, junk[rand.IntN(len(junk))])
				}
				both.Wait()
				c.Close()
			}
		})
	}
	all.Wait()
	return "over"
}

package node

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// body is an endpoint that says what it read.
type body struct{}

func (body) ServeEndpoint(w http.ResponseWriter, r *http.Request, a endpoint.Address) {
	path, err := a.Path(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	endpoint.BoundBody(w, r)
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, path, b)
}

// rawServer serves an endpoint at the host x.fn.localhost as a node does.
func rawServer(t *testing.T) string {
	t.Helper()
	n := &Node{log: slog.New(slog.DiscardHandler), front: newFront("localhost"), cfg: Config{Listen: "127.0.0.1:0"}}
	n.front.labels[labelURLs] = body{}
	if err := n.openServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	go n.server.Serve(n.listener)
	t.Cleanup(func() { n.server.Close() })
	return n.listener.Addr().String()
}

// answers sends bytes on one connection and returns the status and body of each
// answer that comes back, until the server closes it or has no more to say.
func answers(t *testing.T, addr, raw string) []string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite() // no more requests: the server closes when it has answered
	var all []string
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		b, _ := io.ReadAll(res.Body)
		all = append(all, fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(b))))
	}
}

func TestTricksOnTheWireAreRefusedAndSmuggleNothing(t *testing.T) {
	addr := rawServer(t)
	const host = "Host: x.fn.localhost\r\n"
	const smuggled = "GET /smuggled HTTP/1.1\r\n" + host + "\r\n"
	for _, tc := range []struct {
		name, raw string
		want      []string // statuses, or whole answers
	}{
		{"plain", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi" + "GET /b HTTP/1.1\r\n" + host + "\r\n", []string{`200 POST /a "hi"`, `200 GET /b ""`}},
		{"chunked", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", []string{`200 POST /a "hi"`}},
		{"Content-Length and Transfer-Encoding", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, []string{"400"}},
		{"Transfer-Encoding and Content-Length", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled, []string{"400"}},
		{"two Content-Lengths", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 50\r\n\r\nhi" + smuggled, []string{"400"}},
		{"a list of Content-Lengths", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\nhi", []string{"400"}},
		{"a signed Content-Length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: +2\r\n\r\nhi", []string{"400"}},
		{"a negative Content-Length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: -2\r\n\r\nhi", []string{"400"}},
		{"an encoding that is not known", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, []string{"501"}},
		{"two encodings", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, []string{"501"}},
		{"a space before the colon", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, []string{"400"}},
		{"a header in two lines", "GET /a HTTP/1.1\r\n" + host + "X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n", []string{"400"}},
		{"a chunk without a size", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n;\r\nhi\r\n0\r\n\r\n" + smuggled, []string{"400"}},
		{"a huge chunk size", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi\r\n0\r\n\r\n", []string{"400"}},
		{"HTTP/0.9", "GET /a\r\n", []string{"400"}},
		{"HTTP/3.0 in text", "GET /a HTTP/3.0\r\n" + host + "\r\n", []string{"505"}},
		{"no host", "GET /a HTTP/1.1\r\n\r\n", []string{"400"}},
		{"two hosts", "GET /a HTTP/1.1\r\n" + host + "Host: y.fn.localhost\r\n\r\n", []string{"400"}},
		{"a host with a path", "GET /a HTTP/1.1\r\nHost: x.fn.localhost/b\r\n\r\n", []string{"400"}},
		{"absolute form", "GET http://x.fn.localhost/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", []string{`200 GET /a ""`}},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", []string{"200"}},
		{"authority form", "CONNECT example.com:443 HTTP/1.1\r\n" + host + "\r\n", []string{"404"}},
		{"an encoded slash", "GET /a%2Fb HTTP/1.1\r\n" + host + "\r\n", []string{`200 GET /a%2Fb ""`}},
		{"dots", "GET /a/../b HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"encoded dots", "GET /a/%2e%2e/b HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"a NUL in the path", "GET /a\x00b HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"an encoded NUL", "GET /a%00b HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"a NUL in a header", "GET /a HTTP/1.1\r\n" + host + "X-A: a\x00b\r\n\r\n", []string{"400"}},
		{"a broken escape", "GET /a%zz HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"a space in the path", "GET /a b HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"a method that is none", "GE\tT /a HTTP/1.1\r\n" + host + "\r\n", []string{"400"}},
		{"a large head", "GET /a HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", []string{"431"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := answers(t, addr, tc.raw)
			if len(got) != len(tc.want) {
				t.Fatalf("answers %q, want %q", got, tc.want)
			}
			for i, want := range tc.want {
				if got[i] != want && !(len(want) == 3 && strings.HasPrefix(got[i], want)) {
					t.Errorf("answer %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestALaterRequestOfAConnectionIsLookedAtToo(t *testing.T) {
	addr := rawServer(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	for i, tc := range []struct {
		head string
		want int
	}{
		{"Content-Length: 0\r\n", 200},
		{"X-A: 1\r\n", 200},
		{"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
	} {
		fmt.Fprintf(c, "POST /a HTTP/1.1\r\nHost: x.fn.localhost\r\n%s\r\n", tc.head)
		if strings.HasPrefix(tc.head, "Transfer") {
			io.WriteString(c, "0\r\n\r\n")
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != tc.want {
			t.Errorf("request %d: %s, want %d", i, res.Status, tc.want)
		}
	}
}

package node

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// guarded serves requests behind a guard: 400 for those that it finds fault with,
// else their path and body.
func guarded(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := faultOf(r); fault != "" {
			w.Header().Set("Connection", "close")
			http.Error(w, fault, http.StatusBadRequest)
			return
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	})}
	watch(s)
	go s.Serve(guard{l})
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func TestEachRequestOfAConnectionIsLookedAt(t *testing.T) {
	address := guarded(t)
	const (
		get      = "GET /g HTTP/1.1\r\nHost: h\r\n\r\n"
		post     = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na\n b\n\n\nc\n"
		chunked  = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\n \r\n0\r\nT: r\r\n\r\n"
		both     = "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		unixEnds = "POST /b HTTP/1.1\nHost: h\nContent-Length: 5\nTransfer-Encoding: chunked\n\r\n0\r\n\r\n"
		folded   = "GET /f HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"
		older    = "POST /o HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	)
	for name, tc := range map[string]struct {
		send string
		want []string
	}{
		"plain":                            {get + post + chunked + get, []string{"/g ", "/p a\n b\n\n\nc\n", "/c a\n ", "/g "}},
		"both framings":                    {both + get, []string{"400"}},
		"both framings after another":      {get + both + get, []string{"/g ", "400"}},
		"both framings after a body":       {post + both, []string{"/p a\n b\n\n\nc\n", "400"}},
		"both framings after chunks":       {chunked + both, []string{"/c a\n ", "400"}},
		"both framings and bare line ends": {unixEnds + get, []string{"400"}},
		"a folded header after another":    {get + folded, []string{"/g ", "400"}},
		"chunks in HTTP/1.0":               {older + get, []string{"400"}},
		"an empty line after a post":       {post + "\r\n" + both, []string{"/p a\n b\n\n\nc\n", "400"}},
	} {
		for _, step := range []int{1 << 20, 1, 7} { // bytes at one time
			t.Run(fmt.Sprintf("%s, %d", name, step), func(t *testing.T) {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				go func() { // the server may hang up before it has all
					for part := range slices.Chunk([]byte(tc.send), step) {
						c.Write(part)
					}
				}()
				in := bufio.NewReader(c)
				for _, want := range tc.want {
					res, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatalf("no answer where %q was to come: %v", want, err)
					}
					b, _ := io.ReadAll(res.Body)
					if got := string(b); got != want && !(want == "400" && res.StatusCode == http.StatusBadRequest) {
						t.Errorf("%d %q, want %q", res.StatusCode, got, want)
					}
				}
			})
		}
	}
}

func FuzzFramingKeepsLittle(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 3)
	f.Add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, sent string, step int) {
		var whole, parts framing
		var once, stepped []string
		whole.feed([]byte(sent), func(fault string) { once = append(once, fault) })
		for part := range slices.Chunk([]byte(sent), max(1, step)) {
			parts.feed(part, func(fault string) { stepped = append(stepped, fault) })
		}
		if len(parts.line) > len(sent) || !slices.Equal(once, stepped) {
			t.Errorf("in one piece %q, in parts %q", strings.Join(once, "|"), strings.Join(stepped, "|"))
		}
	})
}

package runtimeapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// parse feeds data in pieces of the sizes, over and over, until a request is
// complete, and returns what is left for the next one.
func parse(limit int, data []byte, sizes ...int) (p *parser, done bool, err *httpError) {
	p = &parser{limit: limit, room: &room{1 << 20}}
	for n := 0; ; n++ {
		size := len(data)
		if len(sizes) > 0 {
			size = min(size, sizes[n%len(sizes)])
		}
		if done, err = p.feed(data[:size]); done || err != nil {
			return p, done, err
		}
		if data = data[size:]; len(data) == 0 {
			return p, false, nil
		}
	}
}

func TestParserReadsBodiesInEachForm(t *testing.T) {
	for name, c := range map[string]struct {
		raw, body, rest string
		tooLarge        bool
	}{
		"none":              {"GET / HTTP/1.1\r\n\r\n", "", "", false},
		"length":            {"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "abc", "", false},
		"length, more":      {"POST / HTTP/1.1\r\ncontent-length:3\r\n\r\nabcGET /", "abc", "GET /", false},
		"chunks":            {"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\nGET", "abcde", "GET", false},
		"chunks, trailer":   {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\nLambda-Runtime-Function-Error-Type: T\r\n\r\n", "0123456789", "", false},
		"too long":          {"POST / HTTP/1.1\r\nContent-Length: 17\r\n\r\n01234567890123456more", "", "more", true},
		"too long, chunked": {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789012345\r\n1\r\n6\r\n0\r\n\r\nmore", "", "more", true},
		"empty lines first": {"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, sizes := range [][]int{nil, {1}, {2}, {3, 1}, {7}} {
				p, done, err := parse(16, []byte(c.raw), sizes...)
				if err != nil || !done {
					t.Fatalf("in pieces of %v: done %v, error %v", sizes, done, err)
				}
				if string(p.req.body) != c.body || p.req.tooLarge != c.tooLarge {
					t.Errorf("in pieces of %v: body %q, too large %v; want %q, %v", sizes, p.req.body, p.req.tooLarge, c.body, c.tooLarge)
				}
				if !strings.HasPrefix(c.rest, string(p.held)) {
					t.Errorf("in pieces of %v: %q is left, want %q", sizes, p.held, c.rest)
				}
				if name == "chunks, trailer" && p.req.errorType != "T" {
					t.Errorf("error type from the trailer is %q", p.req.errorType)
				}
			}
		})
	}
}

// FuzzParser compares with net/http what both accept, and the outcome in one
// piece with that in small ones.
func FuzzParser(f *testing.F) {
	f.Add([]byte("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"), uint8(1))
	f.Add([]byte("POST /p?q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"), uint8(2))
	f.Add([]byte("POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"), uint8(3))
	f.Add([]byte("POST http://h/p HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), uint8(4))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		const limit = 64
		whole, done, err := parse(limit, data)
		pieces, doneToo, errToo := parse(limit, data, int(size)+1)
		if done != doneToo || (err == nil) != (errToo == nil) {
			t.Fatalf("in one piece: %v %v; in pieces: %v %v", done, err, doneToo, errToo)
		}
		if !done {
			return
		}
		a, b := whole.req, pieces.req
		if a.method != b.method || a.path != b.path || a.close != b.close || a.tooLarge != b.tooLarge || !bytes.Equal(a.body, b.body) {
			t.Fatalf("in one piece: %+v; in pieces: %+v", a, b)
		}
		if len(a.body) > limit {
			t.Fatalf("body of %d bytes is over the limit", len(a.body))
		}
		std, stdErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if stdErr != nil {
			return // it asks for more than we do, a Host for one
		}
		body, stdErr := io.ReadAll(std.Body)
		if stdErr != nil {
			return
		}
		if std.Method != a.method || !a.tooLarge && !bytes.Equal(body, a.body) {
			t.Fatalf("net/http reads %s %q, we read %s %q", std.Method, body, a.method, a.body)
		}
	})
}

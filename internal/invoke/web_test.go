package invoke

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

// countingConn counts its writes.
type countingConn struct {
	net.Conn
	writes *int // read after the answer, which comes after them
}

func (c countingConn) Write(p []byte) (int, error) {
	*c.writes++
	return c.Conn.Write(p)
}

func TestAShortRequestReachesAWebServerInOnePiece(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Write(b)
	}))
	defer srv.Close()
	for name, body := range map[string]string{"short": "hello", "long": strings.Repeat("x", wholeBody+1)} {
		var writes int
		transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return countingConn{c, &writes}, err
		}}
		// As a server gives it: of no type that the transport knows.
		req := httptest.NewRequest(http.MethodPost, srv.URL, io.NopCloser(bufio.NewReader(strings.NewReader(body))))
		req.ContentLength = int64(len(body))
		whole, rest := readWhole(req)
		req.Body = rest
		proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: req.Host})
		}}
		if whole != nil {
			proxy.Transport = wholeSender{transport, whole}
		}
		w := httptest.NewRecorder()
		proxy.ServeHTTP(w, req)
		transport.CloseIdleConnections()
		if w.Body.String() != body {
			t.Errorf("%s: %d bytes came back, want %d", name, w.Body.Len(), len(body))
		}
		if (whole != nil) != (name == "short") || (writes == 1) != (name == "short") {
			t.Errorf("%s: read ahead %v, %d writes", name, whole != nil, writes)
		}
	}
}

func TestABodyThatBreaksOffBreaksOffForTheServer(t *testing.T) {
	req := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("hel"), brokenReader{}))
	req.ContentLength = 5
	whole, body := readWhole(req)
	got, err := io.ReadAll(body)
	if whole != nil || string(got) != "hel" || err == nil {
		t.Errorf("whole %q, then %q, %v", whole, got, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOnlyTheLastPartOfAnAnswerWaitsForItsEnd(t *testing.T) {
	w := httptest.NewRecorder()
	x := &webExchange{ResponseWriter: w, rec: &meter.Record{}}
	w.Header().Set("Content-Length", "5")
	x.WriteHeader(http.StatusOK)
	io.WriteString(x, "hel")
	if !w.Flushed {
		t.Error("a part waits for the rest")
	}
	w.Flushed = false
	io.WriteString(x, "lo")
	if w.Flushed {
		t.Error("the end left by itself, before the server could send all as one")
	}
}

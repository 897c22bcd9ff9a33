// Command server is a web server that knows nothing of where it runs.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	var now, most, calls atomic.Int64
	healthy := time.Now().Add(200 * time.Millisecond)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if time.Now().Before(healthy) {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Println("is healthy")
	})
	http.HandleFunc("/echo/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Calls", fmt.Sprint(calls.Add(1)))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("X-Forwarded-Proto"), body)
	})
	http.HandleFunc("/meet", func(w http.ResponseWriter, r *http.Request) { // answers once as many are here as it was told
		var want int64
		fmt.Sscan(r.FormValue("n"), &want)
		here := now.Add(1)
		for m := most.Load(); here > m && !most.CompareAndSwap(m, here); m = most.Load() {
		}
		for most.Load() < want && r.Context().Err() == nil {
			time.Sleep(2 * time.Millisecond)
		}
		now.Add(-1)
		fmt.Fprint(w, most.Load())
	})
	http.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		fmt.Println("the reader left")
	})
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == `"fail"` {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintf(w, `{"event":%s,"id":%q}`, body, r.Header.Get("X-Request-Id"))
	})
	http.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("/upgrade", upgrade)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("told to end")
		os.Exit(0)
	}()
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}

// upgrade echoes lines on a connection that is no longer HTTP, as WebSocket does.
func upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, "echo "+line)
	}
}

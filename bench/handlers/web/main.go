// The program of the HTTP bench, with one answer in three shapes: with "-web" a
// web server on $PORT, with "-plain" one on a free port that it prints, and else
// a function whose events are requests to its URL.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// hello answers {"name": "x"} with {"hello": "x"}.
func hello(in io.Reader) ([]byte, error) {
	var e struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(in).Decode(&e); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"hello": e.Name})
}

// streamPath answers with a first part, and with a last one after the pause that
// the query names.
const streamPath = "/stream"

func pause(given string) {
	d, err := time.ParseDuration(given)
	if err == nil {
		time.Sleep(d)
	}
}

func call(_ context.Context, e events.LambdaFunctionURLRequest) (any, error) {
	if e.RawPath == streamPath {
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, "first")
			pause(e.QueryStringParameters["pause"])
			io.WriteString(w, " last")
			w.Close()
		}()
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: http.StatusOK, Body: r}, nil
	}
	b, err := hello(strings.NewReader(e.Body))
	return events.LambdaFunctionURLResponse{StatusCode: http.StatusOK, Headers: map[string]string{"Content-Type": "application/json"}, Body: string(b)}, err
}

func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, err := hello(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(b)
	})
	http.HandleFunc("/address", func(w http.ResponseWriter, r *http.Request) { // where the caller reaches it
		fmt.Fprint(w, r.Context().Value(http.LocalAddrContextKey))
	})
	http.HandleFunc(streamPath, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		http.NewResponseController(w).Flush()
		pause(r.FormValue("pause"))
		io.WriteString(w, " last")
	})
	return http.Serve(l, nil)
}

func main() {
	var shape string
	if len(os.Args) > 1 {
		shape = os.Args[1]
	}
	var err error
	switch shape {
	case "-web":
		err = serve(":" + os.Getenv("PORT"))
	case "-plain":
		err = serve("127.0.0.1:0")
	default:
		lambda.Start(call)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

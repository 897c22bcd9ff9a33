// The bench's Go handler. As a function it runs under the Lambda runtime
// interface; with "-plain" it is its own plain HTTP server.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Name  string `json:"name"`
	Pause int    `json:"pause"` // milliseconds
}

type answer struct {
	Hello string `json:"hello"`
}

func handle(e event) (answer, error) {
	if e.Name == "" {
		e.Name = "world"
	}
	time.Sleep(time.Duration(e.Pause) * time.Millisecond)
	return answer{Hello: e.Name}, nil
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "-plain" {
		lambda.Start(handle)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, err := handle(e)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

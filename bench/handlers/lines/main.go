// A handler that prints as many lines as it is asked for, each by a write of its
// own. With "-plain N" it is a plain program that does the same.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Lines int `json:"lines"`
}

func handle(e event) (map[string]string, error) {
	text := strings.Repeat("x", 80)
	for i := range e.Lines {
		if _, err := fmt.Printf("line %09d %s\n", i, text); err != nil {
			return nil, err
		}
	}
	return map[string]string{"hello": "world"}, nil
}

func main() {
	if len(os.Args) < 3 {
		lambda.Start(handle)
		return
	}
	lines, err := strconv.Atoi(os.Args[2])
	if err == nil {
		_, err = handle(event{lines})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

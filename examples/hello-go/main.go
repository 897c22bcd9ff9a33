// Command hello-go greets, and tells how often this instance has been called.
package main

import (
	"cmp"
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Name string `json:"name"`
}

type answer struct {
	Message string `json:"message"`
	Calls   int    `json:"calls"`
	Memory  int    `json:"memory"`
}

func main() {
	log.SetFlags(0)
	calls := 0
	lambda.Start(func(_ context.Context, e event) (answer, error) {
		calls++
		log.Println("greeting", e.Name)
		return answer{
			Message: "Hello, " + cmp.Or(e.Name, "world") + ", from Go!",
			Calls:   calls,
			Memory:  lambdacontext.MemoryLimitInMB,
		}, nil
	})
}

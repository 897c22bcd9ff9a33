// The function that copies are made of, for a custom runtime.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

func random() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

var born = random()

type event struct{ Sleep float64 }

func main() {
	lambda.Start(func(_ context.Context, e event) (any, error) {
		time.Sleep(time.Duration(e.Sleep * float64(time.Second)))
		return map[string]any{"born": born, "random": []string{random()}, "now": float64(time.Now().UnixMilli()) / 1000}, nil
	})
}

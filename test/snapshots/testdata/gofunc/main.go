// The function that copies are made of, for a custom runtime. Named "hooks", it
// waits for its restore.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func random() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

var born = random()

type event struct{ Sleep float64 }

// restored returns, in a copy of the snapshot, what its hook did there.
func restored() []string {
	if os.Getenv("AWS_LAMBDA_FUNCTION_NAME") != "hooks" || os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start" {
		return nil
	}
	resp, err := http.Get("http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/restore/next")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		log.Fatal(resp.Status)
	}
	return []string{random()}
}

func main() {
	hooks := restored()
	lambda.Start(func(_ context.Context, e event) (any, error) {
		time.Sleep(time.Duration(e.Sleep * float64(time.Second)))
		return map[string]any{"born": born, "random": []string{random()}, "hooks": hooks, "stream": lambdacontext.LogStreamName, "env": os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME"), "now": float64(time.Now().UnixMilli()) / 1000}, nil
	})
}

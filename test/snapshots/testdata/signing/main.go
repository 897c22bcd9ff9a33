// The function that signs with clients that its init has made and used.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

type event struct{ Sleep float64 }

func environment() []string {
	return []string{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
}

// clients sign with one set of credentials.
type clients struct {
	objects *s3.Client
	queues  *sqs.Client
}

func newClients(c []string) clients {
	endpoint, region := os.Getenv("AWS_ENDPOINT_URL"), os.Getenv("AWS_REGION")
	provider := credentials.NewStaticCredentialsProvider(c[0], c[1], c[2])
	return clients{
		s3.New(s3.Options{Region: region, BaseEndpoint: &endpoint, UsePathStyle: true, Credentials: provider}),
		sqs.New(sqs.Options{Region: region, BaseEndpoint: &endpoint, Credentials: provider}),
	}
}

// status returns 200 for what went well.
func status(err error) int {
	if err != nil {
		log.Print(err)
		return 500
	}
	return 200
}

func (c clients) object(ctx context.Context) int {
	_, err := c.objects.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("own"), Key: aws.String("x")})
	return status(err)
}

func (c clients) queue(ctx context.Context) int {
	_, err := c.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("own")})
	return status(err)
}

func main() {
	kept := environment()
	of := newClients(kept)
	ctx := context.Background()
	inInit := map[string]int{"an object in init": of.object(ctx), "a queue in init": of.queue(ctx)}
	lambda.Start(func(ctx context.Context, e event) (any, error) {
		time.Sleep(time.Duration(e.Sleep * float64(time.Second)))
		env := environment()
		now := newClients(env)
		statuses := map[string]int{
			"an object with init's client": of.object(ctx), "a queue with init's client": of.queue(ctx),
			"an object with a new client": now.object(ctx), "a queue with a new client": now.queue(ctx),
		}
		for what, s := range inInit {
			statuses[what] = s
		}
		return map[string]any{"signed": map[string]any{"kept": kept, "env": env, "statuses": statuses}}, nil
	})
}

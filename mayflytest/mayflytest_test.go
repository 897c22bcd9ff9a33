package mayflytest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func TestMain(m *testing.M) { Main(m) }

func TestNodeRunsAFunctionAndKeepsItOverARestart(t *testing.T) {
	dir := t.TempDir()
	first := StartWith(t, Options{DataDir: dir})
	api := client(first)
	_, err := api.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: aws.String("double"), Runtime: types.RuntimePython311, Handler: aws.String("app.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Code: &types.FunctionCode{ZipFile: pack(t, "app.py", "def handler(event, context):\n    return event * 2\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	active(t, api, "double")
	if got := call(t, api, "double", 21); got != 42 {
		t.Errorf("double(21) = %v, want 42", got)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}

	second := StartWith(t, Options{DataDir: dir})
	if second.AccessKey != first.AccessKey {
		t.Error("the access key changed over a restart")
	}
	if got := call(t, client(second), "double", 4); got != 8 {
		t.Errorf("after a restart double(4) = %v, want 8", got)
	}
}

func TestNodeLeavesOnlyItsDataBehind(t *testing.T) {
	dir := t.TempDir()
	n := StartWith(t, Options{DataDir: dir})
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/node.json"); !os.IsNotExist(err) {
		t.Errorf("the address of a stopped node is still there: %v", err)
	}
}

func client(n *Node) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: n.Region, BaseEndpoint: &n.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})
}

func active(t *testing.T, api *lambda.Client, name string) {
	t.Helper()
	w := lambda.NewFunctionActiveV2Waiter(api, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	if err := w.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func call(t *testing.T, api *lambda.Client, name string, in float64) (out float64) {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := api.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(res.Payload, &out); err != nil {
		t.Fatalf("answer %s: %v", res.Payload, err)
	}
	return out
}

func pack(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name}
	h.SetMode(0o644)
	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

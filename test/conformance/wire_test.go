package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// send signs a request as of a time, lets change spoil it, and sends it. The
// service decides which of the node's doors answers.
func send(t *testing.T, n *mayflytest.Node, service, method, path, body string, at time.Time, change func(*http.Request)) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.Endpoint+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: n.AccessKey, SecretAccessKey: n.SecretKey}, req, hex.EncodeToString(sum[:]), service, n.Region, at)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

// sendJSON is send for Lambda's API; it returns the answer's document.
func sendJSON(t *testing.T, n *mayflytest.Node, method, path, body string, at time.Time, change func(*http.Request)) (*http.Response, map[string]any) {
	t.Helper()
	res, b := send(t, n, "lambda", method, path, body, at, change)
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); len(b) > 0 && err != nil {
		t.Fatalf("%s answers %q: %v", path, b, err)
	}
	return res, doc
}

func TestRequestsThatAreNotProven(t *testing.T) {
	n := mayflytest.Start(t)
	const list = "/2015-03-31/functions/"
	for name, tc := range map[string]struct {
		at     time.Duration // from now
		change func(*http.Request)
		code   string
		words  string
	}{
		"not signed":     {0, func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		"late clock":     {-16 * time.Minute, nil, "InvalidSignatureException", "Signature expired: "},
		"early clock":    {16 * time.Minute, nil, "InvalidSignatureException", "Signature not yet current: "},
		"another query":  {0, func(r *http.Request) { r.URL.RawQuery = "MaxItems=1" }, "InvalidSignatureException", "does not match the signature you provided"},
		"another method": {0, func(r *http.Request) { r.Method = http.MethodPost }, "InvalidSignatureException", "does not match the signature you provided"},
		"another service": {0, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/lambda/", "/scheduler/", 1)) // which words it as Lambda does
		}, "InvalidSignatureException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res, doc := sendJSON(t, n, http.MethodGet, list, "", time.Now().Add(tc.at), tc.change)
			code := res.Header.Get("X-Amzn-Errortype")
			message, _ := doc["message"].(string)
			if message == "" {
				message, _ = doc["Message"].(string)
			}
			if res.StatusCode != http.StatusForbidden || code != tc.code || !strings.Contains(message, tc.words) {
				t.Errorf("%s %s %v, want 403 %s %s", res.Status, code, doc, tc.code, tc.words)
			}
			if !uuidRE.MatchString(res.Header.Get("X-Amzn-Requestid")) {
				t.Errorf("request id %q", res.Header.Get("X-Amzn-Requestid"))
			}
		})
	}
	res, _ := sendJSON(t, n, http.MethodGet, list, "", time.Now().Add(-4*time.Minute), nil)
	if res.StatusCode != http.StatusOK {
		t.Errorf("a clock that is 4 minutes late: %s", res.Status)
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	n := mayflytest.Start(t)
	res, doc := sendJSON(t, n, http.MethodGet, "/2015-03-31/functions/nowhere", "", time.Now(), nil)
	if res.StatusCode != 404 || res.Header.Get("X-Amzn-Errortype") != "ResourceNotFoundException" || res.Header.Get("Content-Type") != "application/json" ||
		doc["Type"] != "User" || doc["Message"] != "Function not found: arn:aws:lambda:"+n.Region+":"+n.Account+":function:nowhere" || len(doc) != 2 {
		t.Errorf("missing function: %s %v %v", res.Status, res.Header, doc)
	}
	res, doc = sendJSON(t, n, http.MethodPost, "/2015-03-31/functions", `{"FunctionName":"f","Role":"`+role+`","Code":{}, "Handler": "a.b", "Runtime": "python3.11"}`, time.Now(), nil)
	if res.StatusCode != 400 || doc["Type"] != "User" || doc["message"] != "Please provide a source for function code." {
		t.Errorf("no code: %s %v", res.Status, doc)
	}
	res, _ = sendJSON(t, n, http.MethodPost, "/2015-03-31/functions", `{"FunctionName":`, time.Now(), nil)
	if res.StatusCode != 400 || res.Header.Get("X-Amzn-Errortype") != "SerializationException" {
		t.Errorf("no JSON: %s %v", res.Status, res.Header)
	}
	res, _ = sendJSON(t, n, http.MethodGet, "/2015-03-31/no-such-thing", "", time.Now(), nil)
	if res.StatusCode != 404 || res.Header.Get("X-Amzn-Errortype") != "UnknownOperationException" {
		t.Errorf("no operation: %s %v", res.Status, res.Header)
	}
}

func TestAnEventRunsAfterItWasAccepted(t *testing.T) {
	n := mayflytest.Start(t)
	c := sdk(n)
	create(t, c, "later")
	waitActive(t, c, "later")
	if _, err := c.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("later"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"marker": "run-me-later"}`),
	}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		_, log := send(t, n, "mayfly", http.MethodGet, "/_mayfly/v1/logs/later", "", time.Now(), nil)
		if strings.Contains(string(log), "run-me-later") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the function's log never showed the event:\n%s", log)
		}
		time.Sleep(20 * time.Millisecond) // between questions; nothing tells of it
	}
}

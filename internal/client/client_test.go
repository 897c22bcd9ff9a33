package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &Client{Endpoint: s.URL, Region: "us-east-1", KeyID: "AKIAEXAMPLE", Secret: "secret", HTTP: s.Client()}
}

func TestRequestsAreSignedForTheirService(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		auth := r.Header.Get("Authorization")
		if !strings.Contains(auth, "Credential=AKIAEXAMPLE/") || !strings.Contains(auth, "/us-east-1/sqs/aws4_request") {
			t.Errorf("authorization %q", auth)
		}
		if got := r.Header.Get("X-Amz-Target"); got != "AmazonSQS.ListQueues" {
			t.Errorf("target %q", got)
		}
		if string(body) != `{"MaxResults":3}` {
			t.Errorf("body %s", body)
		}
		io.WriteString(w, `{"QueueUrls":["u"]}`)
	})
	var out struct{ QueueUrls []string }
	if err := c.Operation(t.Context(), Queues, "ListQueues", map[string]int{"MaxResults": 3}, &out); err != nil || len(out.QueueUrls) != 1 {
		t.Errorf("answer %v, %v", out, err)
	}
	if err := c.Operation(t.Context(), Functions, "Invoke", nil, nil); err == nil {
		t.Error("a service without operations by name was called")
	}
}

func TestRefusalsOfEveryDoorBecomeProblems(t *testing.T) {
	tests := []struct {
		name, header, body string
		code, message      string
	}{
		{"rest", "ResourceNotFoundException:http://x", `{"Message":"no such function"}`, "ResourceNotFoundException", "no such function"},
		{"json", "", `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no queue"}`, "QueueDoesNotExist", "no queue"},
		{"admin", "", `{"code":"NotFound","message":"no record"}`, "NotFound", "no record"},
		{"xml", "", `<?xml version="1.0"?><Error><Code>NoSuchBucket</Code><Message>no bucket</Message></Error>`, "NoSuchBucket", "no bucket"},
		{"none", "", ``, "", "the node answered 404 Not Found to GET /x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("X-Amzn-Errortype", tt.header)
				}
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, tt.body)
			})
			err := c.REST(t.Context(), Functions, http.MethodGet, "/x", nil, nil, nil)
			var p *Problem
			if !errors.As(err, &p) || p.Status != 404 || p.Code != tt.code || p.Message != tt.message {
				t.Errorf("%#v", err)
			}
		})
	}
}

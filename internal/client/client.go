// Package client calls a node's public API as any program outside could: it signs
// requests and reads answers and errors. The command line and the console are
// such programs; what they can do, everybody can.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The service names that requests are signed for.
const (
	Admin     = "mayfly" // what no cloud's API covers
	Functions = "lambda"
	Queues    = "sqs"
	Objects   = "s3"
	Events    = "events"
	Schedules = "scheduler"
	APIs      = "apigateway"
	Logs      = "logs"
)

// adminPrefix is the path under which the admin door is.
const adminPrefix = "/_mayfly/v1/"

// Client calls one node with one key. It is safe for concurrent use.
type Client struct {
	Endpoint string // scheme and host, such as http://127.0.0.1:9555
	Region   string
	KeyID    string
	Secret   string
	HTTP     *http.Client
}

// Request is one call.
type Request struct {
	Service string // one of the service names above
	Method  string
	Path    string // absolute and already escaped
	Query   url.Values
	Header  http.Header
	Body    []byte
}

// Problem is an answer that is an error.
type Problem struct {
	Status  int
	Code    string // the door's own error code
	Message string
}

func (p *Problem) Error() string { return p.Message }

// Send signs the request and sends it. An answer that is no success is a
// *Problem; otherwise the caller closes the answer's body, which may be a stream.
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	u := c.Endpoint + r.Path
	if len(r.Query) > 0 {
		u += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	sum := sha256.Sum256(r.Body)
	hash := hex.EncodeToString(sum[:])
	if r.Service == Objects {
		req.Header.Set("X-Amz-Content-Sha256", hash)
	}
	key := aws.Credentials{AccessKeyID: c.KeyID, SecretAccessKey: c.Secret}
	err = v4.NewSigner().SignHTTP(ctx, key, req, hash, r.Service, c.Region, time.Now(), func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = r.Service == Objects // S3 signs the path as it is sent
	})
	if err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp, r)
}

// Call is Send for an answer of JSON, which is decoded into out. A nil out drops
// the answer.
func (c *Client) Call(ctx context.Context, r Request, out any) error {
	resp, err := c.Send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil && err != io.EOF {
		return fmt.Errorf("read the node's answer to %s %s: %w", r.Method, r.Path, err)
	}
	return nil
}

// Admin calls the admin door: path is below its prefix, a nil in sends no body.
func (c *Client) Admin(ctx context.Context, method, path string, query url.Values, in, out any) error {
	r := Request{Service: Admin, Method: method, Path: adminPrefix + path, Query: query}
	if err := r.encode(in); err != nil {
		return err
	}
	return c.Call(ctx, r, out)
}

// Stream opens an answer of the admin door that goes on until ctx ends or the
// caller closes it.
func (c *Client) Stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	resp, err := c.Send(ctx, Request{Service: Admin, Method: http.MethodGet, Path: adminPrefix + path, Query: query})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// REST calls an operation of a service that is addressed by path, in JSON.
func (c *Client) REST(ctx context.Context, service, method, path string, query url.Values, in, out any) error {
	r := Request{Service: service, Method: method, Path: path, Query: query}
	if err := r.encode(in); err != nil {
		return err
	}
	return c.Call(ctx, r, out)
}

// Items calls an operation for HTTP APIs that lists, until it has all pages.
func Items[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	query := url.Values{}
	for {
		var page struct {
			Items     []T    `json:"items"`
			NextToken string `json:"nextToken"`
		}
		if err := c.REST(ctx, APIs, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextToken == "" {
			return all, nil
		}
		query.Set("nextToken", page.NextToken)
	}
}

// targets are the prefixes of operation names in the services' JSON protocols,
// and the version of the protocol.
var targets = map[string]struct{ prefix, version string }{
	Queues: {"AmazonSQS.", "1.0"},
	Events: {"AWSEvents.", "1.1"},
	Logs:   {"Logs_20140328.", "1.1"},
}

// Operation calls an operation of a service that is addressed by name, in JSON.
func (c *Client) Operation(ctx context.Context, service, operation string, in, out any) error {
	t, ok := targets[service]
	if !ok {
		return fmt.Errorf("service %q has no operations by name", service)
	}
	r := Request{Service: service, Method: http.MethodPost, Path: "/", Header: http.Header{}}
	if in == nil {
		in = struct{}{}
	}
	if err := r.encode(in); err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-"+t.version)
	r.Header.Set("X-Amz-Target", t.prefix+operation)
	return c.Call(ctx, r, out)
}

func (r *Request) encode(in any) error {
	if in == nil {
		return nil
	}
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the request to %s: %w", r.Path, err)
	}
	r.Body = b
	r.Header = http.Header{"Content-Type": {"application/json"}}
	return nil
}

// maxProblem bounds what is read of an answer that is an error, in bytes.
const maxProblem = 1 << 20

// problem reads an error as any of the doors words it.
func problem(resp *http.Response, r Request) error {
	p := &Problem{Status: resp.StatusCode, Code: resp.Header.Get("X-Amzn-Errortype")}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("read the node's refusal of %s %s: %w", r.Method, r.Path, err)
	}
	var text struct {
		Type    string `json:"__type" xml:"-"`
		Code    string `json:"code" xml:"Code"`
		Message string `json:"message" xml:"Message"`
	}
	// encoding/json matches Message and message alike.
	if json.Unmarshal(body, &text) == nil || xml.Unmarshal(body, &text) == nil {
		p.Message = text.Message
		for _, code := range []string{text.Type, text.Code} {
			if p.Code == "" {
				p.Code = code
			}
		}
	}
	p.Code = p.Code[strings.LastIndexByte(p.Code, '#')+1:]
	p.Code, _, _ = strings.Cut(p.Code, ":")
	if p.Message == "" {
		p.Message = fmt.Sprintf("the node answered %s to %s %s", resp.Status, r.Method, r.Path)
	}
	return p
}

package wire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// echoMux serves a plain handler for "lambda" that says who called.
func echoMux() *wire.Mux {
	m := newMux()
	m.HandleHTTP("lambda", 1<<20, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", wire.CallerOf(r.Context()).Principal, body)
	}))
	return m
}

var oddURLs = []string{
	"/", "/2015-03-31/functions", "/2015-03-31/functions/",
	"/2015-03-31/functions/a%2Fb/invocations?Qualifier=%24LATEST",
	"/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
	"/2017-03-31/tags/arn:aws:lambda:us-east-1:000000000000:function:f",
	"/a//b", "/a/./b/../c", "/~tilde/st*r/(paren)/pl+us/sp%20ace/%E2%82%AC",
	"/?b=2&a=1", "/?a=&a-b=&a=z&a=b", "/?empty", "/?q=%2B%20%2F%3D%26", "/?tagKeys=b&tagKeys=a", "/?x=%E2%82%AC&X=1",
}

func TestVerifiesHeadersThatTheSDKSigns(t *testing.T) {
	srv := httptest.NewServer(echoMux())
	defer srv.Close()
	for _, path := range oddURLs {
		t.Run(path, func(t *testing.T) {
			r, err := http.NewRequest("POST", srv.URL+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Spaces", "  a   b  c ")
			r.Header.Add("X-Amz-Many", "one")
			r.Header.Add("X-Amz-Many", "two")
			sign(t, r, "lambda", []byte("body"))
			expect(t, r, http.StatusOK, "root body")
		})
	}
}

// TestVerifiesPathsAsCurlSignsThem proves that a path with a colon, as of a version
// or an ARN, can be signed as it is sent, and that no other path passes for it.
func TestVerifiesPathsAsCurlSignsThem(t *testing.T) {
	srv := httptest.NewServer(echoMux())
	defer srv.Close()
	const sent = "/2015-03-31/functions/f:live/invocations"
	for path, status := range map[string]int{sent: http.StatusOK, "/2015-03-31/functions/f%3Alive/invocations": http.StatusForbidden} {
		r, err := http.NewRequest("POST", srv.URL+sent, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("body"))
		err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(t.Context(),
			aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}, r, hex.EncodeToString(sum[:]), "lambda", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = url.Parse(srv.URL + path); err != nil {
			t.Fatal(err)
		}
		expect(t, r, status, "")
	}
}

func TestVerifiesURLsThatTheSDKPresigns(t *testing.T) {
	srv := httptest.NewServer(echoMux())
	defer srv.Close()
	sum := sha256.Sum256(nil)
	for _, path := range oddURLs {
		t.Run(path, func(t *testing.T) {
			r, err := http.NewRequest("GET", srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret},
				r, hex.EncodeToString(sum[:]), "lambda", "us-east-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if r, err = http.NewRequest("GET", signed, nil); err != nil {
				t.Fatal(err)
			}
			expect(t, r, http.StatusOK, "root ")
		})
	}
}

// expect sends a request and checks status and a part of the body.
func expect(t *testing.T, r *http.Request, status int, part string) {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status || !strings.Contains(string(body), part) {
		t.Errorf("got %d %s\nwant %d …%s…", res.StatusCode, body, status, part)
	}
}

// The signatures of AWS's published test suite (aws-sig-v4-test-suite).
func TestVerifiesTheSignaturesOfAWSsTestSuite(t *testing.T) {
	const published = "2015-08-30T12:36:00Z"
	for name, c := range map[string]struct{ method, target, signature string }{
		"get-vanilla":                      {"GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-vanilla-query-order-key-case": {"GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		"get-relative":                     {"GET", "/example/..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-slashes":                      {"GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
		"post-vanilla":                     {"POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at(t, published)
				m := newMux()
				m.HandleHTTP("service", 0, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
				r := httptest.NewRequest(c.method, "http://example.amazonaws.com/", nil)
				r.RequestURI = c.target
				_, r.URL.RawQuery, _ = strings.Cut(c.target, "?")
				r.Header.Set("X-Amz-Date", "20150830T123600Z")
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature="+c.signature)
				w := httptest.NewRecorder()
				m.ServeHTTP(w, r)
				if w.Code != http.StatusAccepted {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		})
	}
}

// at moves a bubble's clock forward to the given time.
func at(t *testing.T, when string) {
	t.Helper()
	to, err := time.Parse(time.RFC3339, when)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(to))
}

func TestRefusalsHaveLambdasCodesAndWords(t *testing.T) {
	wrong := "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	cases := map[string]struct {
		change  func(r *http.Request)
		code    string
		message string
	}{
		"unsigned":       {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		"other key":      {replaceAuth(testKey, "AKIDOTHER"), "UnrecognizedClientException", "The security token included in the request is invalid."},
		"session token":  {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }, "UnrecognizedClientException", "The security token included in the request is invalid."},
		"other method":   {func(r *http.Request) { r.Method = "PUT" }, "InvalidSignatureException", wrong},
		"other path":     {func(r *http.Request) { r.RequestURI = "/other" }, "InvalidSignatureException", wrong},
		"other query":    {func(r *http.Request) { r.URL.RawQuery = "a=2" }, "InvalidSignatureException", wrong},
		"other host":     {func(r *http.Request) { r.Host = "other" }, "InvalidSignatureException", wrong},
		"other body":     {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("BODY")) }, "InvalidSignatureException", wrong},
		"other header":   {func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, "InvalidSignatureException", wrong},
		"added header":   {func(r *http.Request) { r.Header.Set("X-Amz-Log-Type", "Tail") }, "InvalidSignatureException", "There were headers present in the request which were not signed: X-Amz-Log-Type"},
		"terminator":     {replaceAuth("aws4_request", "aws5_request"), "InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request'."},
		"scope":          {replaceAuth("/us-east-1", ""), "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."},
		"no host":        {replaceAuth("host;", ""), "InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization."},
		"no signature":   {replaceAuth("Signature=", "Sig="), "IncompleteSignatureException", "Authorization header requires 'Signature' parameter."},
		"no date":        {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."},
		"odd date":       {func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		"other date":     {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20150829T123600Z") }, "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150830' != '20150829', from '20150829T123600Z'."},
		"basic":          {func(r *http.Request) { r.Header.Set("Authorization", "Basic Zm9vOmJhcg==") }, "IncompleteSignatureException", "Authorization header requires the algorithm 'AWS4-HMAC-SHA256'."},
		"unsigned body":  {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "InvalidSignatureException", "An unsigned payload is not accepted here. Sign the hash of the body."},
		"chunked body":   {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") }, "InvalidSignatureException", "The payload form 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' is not accepted here."},
		"late":           {func(*http.Request) { time.Sleep(5*time.Minute + time.Second) }, "InvalidSignatureException", "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"},
		"late but in 5m": {func(*http.Request) { time.Sleep(5 * time.Minute) }, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at(t, "2015-08-30T12:36:00Z")
				r := httptest.NewRequest("POST", "/2015-03-31/functions?a=1", strings.NewReader("body"))
				r.Header.Set("X-Amz-Invocation-Type", "RequestResponse")
				sign(t, r, "lambda", []byte("body"))
				c.change(r)
				checkRefusal(t, r, c.code, c.message)
			})
		})
	}
	t.Run("early", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			at(t, "2015-08-30T12:36:00Z")
			r := httptest.NewRequest("GET", "/", nil)
			err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret},
				r, "", "lambda", "us-east-1", time.Now().Add(5*time.Minute+time.Second))
			if err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, r, "InvalidSignatureException", "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)")
		})
	})
}

func replaceAuth(old, by string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, by, 1))
	}
}

// checkRefusal sends r and expects a 403 with the code, or with no code success.
func checkRefusal(t *testing.T, r *http.Request, code, message string) {
	t.Helper()
	w := httptest.NewRecorder()
	echoMux().ServeHTTP(w, r)
	if code == "" {
		if w.Code != http.StatusOK {
			t.Errorf("got %d %s, want success", w.Code, w.Body)
		}
		return
	}
	want := `{"message":"` + message + `"}`
	if w.Code != http.StatusForbidden || w.Header().Get("x-amzn-ErrorType") != code || w.Body.String() != want {
		t.Errorf("got %d %s %s\nwant 403 %s %s", w.Code, w.Header().Get("x-amzn-ErrorType"), w.Body, code, want)
	}
	if w.Header().Get("x-amzn-RequestId") == "" {
		t.Error("no request id")
	}
}

func TestPresignedURLExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at(t, "2015-08-30T12:36:00Z")
		r := httptest.NewRequest("GET", "http://node/?X-Amz-Expires=60", nil)
		sum := sha256.Sum256(nil)
		signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret},
			r, hex.EncodeToString(sum[:]), "lambda", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		checkRefusal(t, httptest.NewRequest("GET", signed, nil), "", "")
		time.Sleep(2 * time.Second)
		checkRefusal(t, httptest.NewRequest("GET", signed, nil), "InvalidSignatureException", "Signature expired: 20150830T123700Z is now earlier than 20150830T123702Z.")
	})
}

// changingKey is a key whose secret can be changed.
type changingKey struct{ secret string }

func (k *changingKey) Secret(context.Context, string) (string, string, error) {
	return k.secret, "root", nil
}

func TestCachedSigningKeyDoesNotOutliveItsSecret(t *testing.T) {
	key := &changingKey{testSecret}
	m := wire.NewMux(wire.NewAuthenticator(key), discard())
	m.HandleHTTP("lambda", 0, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	call := func() int {
		r := httptest.NewRequest("GET", "/", nil)
		sign(t, r, "lambda", nil)
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		return w.Code
	}
	if code := call(); code != http.StatusOK {
		t.Fatal("before the change:", code)
	}
	key.secret = "another"
	if code := call(); code != http.StatusForbidden {
		t.Error("the old secret still signs:", code)
	}
}

// sessions hands out one temporary key.
type sessions struct{}

func (sessions) Secret(context.Context, string) (secret, principal string, err error) {
	return "", "", errs.Newf(errs.NotFound, "the key needs a token")
}

func (sessions) SessionSecret(ctx context.Context, id, token string) (secret, principal string, err error) {
	switch token {
	case "good":
		return oneKey{}.Secret(ctx, id)
	case "old":
		return "", "", errs.Newf(errs.Denied, "the token has expired")
	default:
		return "", "", errs.Newf(errs.NotFound, "the token is not the key's")
	}
}

func TestSessionTokenIsChecked(t *testing.T) {
	m := wire.NewMux(wire.NewAuthenticator(sessions{}), discard())
	m.HandleHTTP("lambda", 0, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for token, code := range map[string]string{"good": "", "old": "ExpiredTokenException", "bad": "UnrecognizedClientException", "": "UnrecognizedClientException"} {
		r := httptest.NewRequest("GET", "/", nil)
		err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: token},
			r, hex.EncodeToString(sha256.New().Sum(nil)), "lambda", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if got := w.Header().Get("x-amzn-ErrorType"); got != code {
			t.Errorf("token %q: %d %s, want %q", token, w.Code, got, code)
		}
	}
}

// The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
// and the one with trailers from its sister page.
func TestVerifiesChunkedBodiesOfAWSsExamples(t *testing.T) {
	a64k, a1k := strings.Repeat("a", 64<<10), strings.Repeat("a", 1<<10)
	chunk := func(data, signature string) string {
		return fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n", len(data), signature, data)
	}
	plain := chunk(a64k, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
		chunk(a1k, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
		chunk("", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
	trailer := chunk(a64k, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2") +
		chunk(a1k, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7") +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	const plainHeaders = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"
	const trailerHeaders = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"
	const plainSeed, trailerSeed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
	for name, c := range map[string]struct{ kind, headers, seed, body, fault string }{
		"signed":           {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plainHeaders, plainSeed, plain, ""},
		"with trailer":     {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailerHeaders, trailerSeed, trailer, ""},
		"changed data":     {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plainHeaders, plainSeed, strings.Replace(plain, "aaa", "aab", 1), "SignatureDoesNotMatch"},
		"changed trailer":  {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailerHeaders, trailerSeed, strings.Replace(trailer, "sOO8", "sOO9", 1), "SignatureDoesNotMatch"},
		"cut off":          {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plainHeaders, plainSeed, plain[:60000], "InvalidRequest"},
		"chunk left out":   {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plainHeaders, plainSeed, plain[strings.Index(plain, "400;"):], "SignatureDoesNotMatch"},
		"trailer unsigned": {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailerHeaders, trailerSeed, strings.Replace(trailer, "x-amz-trailer-signature", "x-other", 1), "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at(t, "2013-05-24T00:00:00Z")
				r := httptest.NewRequest("PUT", "http://s3.amazonaws.com/examplebucket/chunkObject.txt", strings.NewReader(c.body))
				r.ContentLength = 66824 // of the example, whose body some cases cut
				for k, v := range map[string]string{
					"Content-Encoding": "aws-chunked", "X-Amz-Content-Sha256": c.kind, "X-Amz-Date": "20130524T000000Z",
					"X-Amz-Decoded-Content-Length": "66560", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
					"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + c.headers + ",Signature=" + c.seed,
				} {
					r.Header.Set(k, v)
				}
				if strings.HasSuffix(c.kind, "TRAILER") {
					r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
				}
				var got bytes.Buffer
				w := httptest.NewRecorder()
				storeMux(&got).ServeHTTP(w, r)
				if c.fault != "" {
					if !strings.Contains(w.Body.String(), "<Code>"+c.fault+"</Code>") {
						t.Errorf("got %d %s, want %s", w.Code, w.Body, c.fault)
					}
					return
				}
				if w.Code != http.StatusOK || got.String() != a64k+a1k {
					t.Errorf("got %d %s and %d bytes", w.Code, w.Body, got.Len())
				}
				if strings.HasSuffix(c.kind, "TRAILER") && r.Trailer.Get("X-Amz-Checksum-Crc32c") != "sOO8/Q==" {
					t.Errorf("trailer %v", r.Trailer)
				}
			})
		})
	}
}

// storeInput is the input of an operation that streams.
type storeInput struct {
	Key  *string
	Body io.Reader
}

var storeShape = wire.Shape{Name: "StoreInput", Members: []wire.Member{
	{Name: "Key", Type: wire.TypeString, Loc: wire.InLabel},
	{Name: "Body", Type: wire.TypeBlob, Loc: wire.InPayload, Streaming: true},
}}

func (*storeInput) Shape() *wire.Shape { return &storeShape }
func (v *storeInput) Walk(w wire.Walker) {
	w.Member(0, &v.Key)
	w.Member(1, &v.Body)
}

// storeMux offers a service with S3's rules that copies bodies to dst.
func storeMux(dst io.Writer) *wire.Mux {
	put := func(_ context.Context, in *storeInput) (*storeInput, error) {
		_, err := io.Copy(dst, in.Body)
		return &storeInput{}, err
	}
	m := wire.NewMux(wire.NewAuthenticator(&changingKey{testSecret2}), discard())
	m.Register(&wire.Service{
		Name: "s3", Protocols: []wire.Protocol{wire.RESTXML}, BareErrors: true,
		Signing:    wire.SigningRules{RawPath: true, UnsignedPayload: true, Streaming: true},
		Operations: []*wire.Operation{{Name: "Put", Method: "PUT", Path: "/{Bucket}/{Key+}", Handler: wire.Handle(put)}},
	})
	return m
}

const testSecret2 = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

func TestS3RulesTakeRawPathsAndStreamedPayloads(t *testing.T) {
	sum := sha256.Sum256([]byte("body"))
	for name, c := range map[string]struct{ path, hash, fault string }{
		"signed":        {"/b/a%2Fb%20c/../d//e", hex.EncodeToString(sum[:]), ""},
		"unsigned":      {"/b/k", "UNSIGNED-PAYLOAD", ""},
		"other payload": {"/b/k", strings.Repeat("0", 64), "XAmzContentSHA256Mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			srv := httptest.NewServer(storeMux(&got))
			defer srv.Close()
			r, err := http.NewRequest("PUT", srv.URL+c.path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Content-Sha256", c.hash)
			err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(context.Background(),
				aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret2}, r, c.hash, "s3", "us-east-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if c.fault != "" {
				expect(t, r, http.StatusBadRequest, "<Code>"+c.fault+"</Code>")
				return
			}
			expect(t, r, http.StatusOK, "")
			if got.String() != "body" {
				t.Errorf("stored %q", got.String())
			}
		})
	}
}

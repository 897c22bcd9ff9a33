// Package http checks the HTTP endpoints of functions on a real node, with the
// clients that people use.
package http

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	agw "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/browsertest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

// source answers with its event, or as the path says.
const source = `
import json, os
def handler(event, context):
    if event.get("type") == "REQUEST":
        return {"isAuthorized": event["identitySource"] == ["letmein"], "context": {"who": "ada"}}
    path = event.get("rawPath") or event["path"]
    if path.endswith("/fail"):
        raise ValueError("no")
    if path.endswith("/binary"):
        return {"statusCode": 200, "headers": {"content-type": "image/png"}, "body": "iVBORw==", "isBase64Encoded": True, "cookies": ["a=1", "b=2"]}
    if path.endswith("/text"):
        return "version " + os.environ.get("VERSION", "1")
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
`

// local sends requests for any host to the node: not every machine's resolver
// knows the names below localhost.
func local(n *mayflytest.Node) *http.Client {
	addr := strings.TrimPrefix(n.Endpoint, "http://")
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}}
}

type node struct {
	*mayflytest.Node
	*lambdatest.Client
	gateway *apigatewayv2.Client
	http    *http.Client
}

func start(t *testing.T) *node { return startWith(t, mayflytest.Options{}) }

func startWith(t *testing.T, o mayflytest.Options) *node {
	t.Helper()
	n := mayflytest.StartWith(t, o)
	return &node{
		Node: n, Client: lambdatest.New(n), http: local(n),
		gateway: apigatewayv2.New(apigatewayv2.Options{
			Region: n.Region, BaseEndpoint: &n.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
		}),
	}
}

// url gives a function a URL.
func (n *node) url(t *testing.T, function string, change func(*lambda.CreateFunctionUrlConfigInput)) string {
	t.Helper()
	in := &lambda.CreateFunctionUrlConfigInput{FunctionName: &function, AuthType: types.FunctionUrlAuthTypeNone}
	if change != nil {
		change(in)
	}
	out, err := n.CreateFunctionUrlConfig(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.FunctionUrl
}

// do sends a request and returns the answer with its body.
func (n *node) do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := n.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// TestEndpoints shares one node and one function among its parts.
func TestEndpoints(t *testing.T) {
	n := start(t)
	n.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	t.Run("function URL", n.testURL)
	t.Run("HTTP API", n.testAPI)
	t.Run("tools", n.testTools)
	t.Run("webhook", n.testWebhook)
	t.Run("stream of a Go function", n.testGoStream)
	t.Run("browser", n.testBrowser)
	t.Run("new code under load", n.testDeployUnderLoad)
}

func (n *node) testURL(t *testing.T) {
	url := n.url(t, "f", nil)
	id := strings.TrimPrefix(strings.Split(url, ".")[0], "http://")
	for _, base := range []string{url, n.Endpoint + "/_fn/" + id + "/"} {
		_, body := n.do(t, http.MethodPost, base+"a%20b?x=1&x=2&y=%20z", `{"k": 1}`, "Cookie", "a=b; c=d", "X-M", "1", "X-M", "2", "Content-Type", "application/json")
		var e struct {
			RawPath, RawQueryString, Body string
			Cookies                       []string
			Headers                       map[string]string
			QueryStringParameters         map[string]string
			RequestContext                struct {
				DomainName string
				HTTP       struct{ Method, Path, SourceIP string }
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if e.RawPath != "/a%20b" || e.RawQueryString != "x=1&x=2&y=%20z" || e.QueryStringParameters["x"] != "1,2" || e.Headers["x-m"] != "1,2" ||
			strings.Join(e.Cookies, "|") != "a=b|c=d" || e.Body != `{"k": 1}` || e.RequestContext.HTTP.Path != "/a b" || e.RequestContext.HTTP.SourceIP != "127.0.0.1" ||
			e.RequestContext.DomainName != id+".fn.localhost" {
			t.Errorf("%s: event %s", base, body)
		}
	}
	res, body := n.do(t, http.MethodGet, url+"binary", "")
	if body != "\x89PNG" || res.Header.Get("Content-Type") != "image/png" || len(res.Header["Set-Cookie"]) != 2 {
		t.Errorf("%v %q", res.Header, body)
	}
	if res, body := n.do(t, http.MethodGet, url+"fail", ""); res.StatusCode != http.StatusBadGateway || body != `{"Message":"Internal Server Error"}` {
		t.Errorf("%s %s", res.Status, body)
	}
	// The URL goes with its function.
	n.Deploy(t, lambdatest.Python{Name: "gone", Source: source})
	gone := n.url(t, "gone", nil)
	if _, err := n.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	if res, _ := n.do(t, http.MethodGet, gone, ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a deleted function's URL: %s", res.Status)
	}
	var api interface{ ErrorCode() string }
	if _, err := n.GetFunctionUrlConfig(t.Context(), &lambda.GetFunctionUrlConfigInput{FunctionName: aws.String("gone")}); !errors.As(err, &api) || api.ErrorCode() != "ResourceNotFoundException" {
		t.Errorf("%v", err)
	}
}

func (n *node) testAPI(t *testing.T) {
	ctx := t.Context()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "back "+r.URL.Path) }))
	defer back.Close()
	fn := "arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:f"
	api, err := n.gateway.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: aws.String("shop"), ProtocolType: agw.ProtocolTypeHttp})
	if err != nil {
		t.Fatal(err)
	}
	integration := func(in apigatewayv2.CreateIntegrationInput) *string {
		t.Helper()
		in.ApiId = api.ApiId
		out, err := n.gateway.CreateIntegration(ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		return aws.String("integrations/" + *out.IntegrationId)
	}
	route := func(in apigatewayv2.CreateRouteInput) {
		t.Helper()
		in.ApiId = api.ApiId
		if _, err := n.gateway.CreateRoute(ctx, &in); err != nil {
			t.Fatal(err)
		}
	}
	two := integration(apigatewayv2.CreateIntegrationInput{IntegrationType: agw.IntegrationTypeAwsProxy, IntegrationUri: &fn, PayloadFormatVersion: aws.String("2.0")})
	uri := "arn:aws:apigateway:" + n.Region + ":lambda:path/2015-03-31/functions/" + fn + "/invocations"
	one := integration(apigatewayv2.CreateIntegrationInput{IntegrationType: agw.IntegrationTypeAwsProxy, IntegrationUri: &uri, PayloadFormatVersion: aws.String("1.0")})
	proxy := integration(apigatewayv2.CreateIntegrationInput{IntegrationType: agw.IntegrationTypeHttpProxy, IntegrationMethod: aws.String("ANY"), IntegrationUri: aws.String(back.URL + "/{proxy}")})
	auth, err := n.gateway.CreateAuthorizer(ctx, &apigatewayv2.CreateAuthorizerInput{
		ApiId: api.ApiId, Name: aws.String("key"), AuthorizerType: agw.AuthorizerTypeRequest, AuthorizerUri: &uri,
		AuthorizerPayloadFormatVersion: aws.String("2.0"), EnableSimpleResponses: aws.Bool(true),
		IdentitySource: []string{"$request.header.X-Key"}, AuthorizerResultTtlInSeconds: aws.Int32(60),
	})
	if err != nil {
		t.Fatal(err)
	}
	route(apigatewayv2.CreateRouteInput{RouteKey: aws.String("GET /pets/{id}"), Target: two})
	route(apigatewayv2.CreateRouteInput{RouteKey: aws.String("POST /old/{id}"), Target: one})
	route(apigatewayv2.CreateRouteInput{RouteKey: aws.String("ANY /back/{proxy+}"), Target: proxy})
	route(apigatewayv2.CreateRouteInput{RouteKey: aws.String("GET /mine"), Target: two, AuthorizationType: agw.AuthorizationTypeCustom, AuthorizerId: auth.AuthorizerId})
	if _, err := n.gateway.CreateStage(ctx, &apigatewayv2.CreateStageInput{ApiId: api.ApiId, StageName: aws.String("$default"), AutoDeploy: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, key string
		status            int
		part              string
	}{
		{"GET", "/pets/7", "", 200, `"pathParameters": {"id": "7"}`},
		{"POST", "/old/7", "", 200, `"version": "1.0"`},
		{"GET", "/back/a/b", "", 200, "back /a/b"},
		{"GET", "/mine", "", 401, `{"message":"Unauthorized"}`},
		{"GET", "/mine", "no", 403, `{"message":"Forbidden"}`},
		{"GET", "/mine", "letmein", 200, `"authorizer": {"lambda": {"who": "ada"}}`},
		{"GET", "/pets/fail", "", 500, `{"message":"Internal Server Error"}`},
		{"GET", "/nosuch", "", 404, `{"message":"Not Found"}`},
	} {
		res, body := n.do(t, tc.method, *api.ApiEndpoint+tc.path, "", "X-Key", tc.key)
		if res.StatusCode != tc.status || !strings.Contains(body, tc.part) || res.Header.Get("Apigw-Requestid") == "" {
			t.Errorf("%s %s: %s %s, want %d %s", tc.method, tc.path, res.Status, body, tc.status, tc.part)
		}
	}
	if _, err := n.gateway.CreateDomainName(ctx, &apigatewayv2.CreateDomainNameInput{DomainName: aws.String("shop.example.com")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.gateway.CreateApiMapping(ctx, &apigatewayv2.CreateApiMappingInput{ApiId: api.ApiId, DomainName: aws.String("shop.example.com"), Stage: aws.String("$default"), ApiMappingKey: aws.String("v1")}); err != nil {
		t.Fatal(err)
	}
	if res, body := n.do(t, http.MethodGet, "http://shop.example.com/v1/back/x", ""); res.StatusCode != 200 || body != "back /x" {
		t.Errorf("by its domain name: %s %s", res.Status, body)
	}
	list, err := n.gateway.GetRoutes(ctx, &apigatewayv2.GetRoutesInput{ApiId: api.ApiId, MaxResults: aws.String("3")})
	if err != nil || len(list.Items) != 3 || list.NextToken == nil {
		t.Errorf("%+v, %v", list, err)
	}
	var notFound *agw.NotFoundException
	if _, err := n.gateway.GetApi(ctx, &apigatewayv2.GetApiInput{ApiId: aws.String("nosuch")}); !errors.As(err, &notFound) {
		t.Errorf("%v", err)
	}
}

// toolScript drives the AWS CLI, whose endpoint is $1, and curl.
const toolScript = `
set -eu
aws="aws --endpoint-url $1 --output text"
fn=arn:aws:lambda:us-east-1:000000000000:function:f
id=$($aws apigatewayv2 create-api --name cli --protocol-type HTTP --target $fn --query ApiId)
curl -sS "$1/_api/$id/pets/text"; echo
$aws apigatewayv2 update-api --api-id $id --name renamed --query Name
$aws apigatewayv2 get-routes --api-id $id --query 'Items[0].RouteKey'
$aws apigatewayv2 delete-api --api-id $id
url=$($aws lambda update-function-url-config --function-name f --auth-type AWS_IAM --query FunctionUrl)
key=${url#http://}; key=${key%%.*}
curl -sS -o /dev/null -w '%{http_code}\n' "$1/_fn/$key/text"
curl -sS --aws-sigv4 aws:amz:us-east-1:lambda --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$1/_fn/$key/text"; echo
$aws lambda add-permission --function-name f --statement-id s --action lambda:InvokeFunctionUrl --principal '*' --function-url-auth-type NONE --query 'contains(Statement, ` + "`FunctionUrlAuthType`" + `)'
$aws lambda get-policy --function-name f --query 'contains(Policy, ` + "`InvokeFunctionUrl`" + `)'
$aws lambda remove-permission --function-name f --statement-id s
$aws lambda update-function-url-config --function-name f --auth-type NONE --query AuthType
`

// botoScript drives boto3, whose endpoint is the first argument.
const botoScript = `
import boto3, sys, urllib.request
fn = "arn:aws:lambda:us-east-1:000000000000:function:f"
gw = boto3.client("apigatewayv2", endpoint_url=sys.argv[1], region_name="us-east-1")
api = gw.create_api(Name="boto", ProtocolType="HTTP", Target=fn, CorsConfiguration={"AllowOrigins": ["https://a.example"], "MaxAge": 60})
assert api["CreatedDate"].year > 2000 and api["ApiEndpoint"].startswith("http://" + api["ApiId"]), api
assert gw.get_stages(ApiId=api["ApiId"])["Items"][0]["AutoDeploy"] is True
gw.tag_resource(ResourceArn="arn:aws:apigateway:us-east-1::/apis/" + api["ApiId"], Tags={"team": "a"})
assert gw.get_api(ApiId=api["ApiId"])["Tags"] == {"team": "a"}
print(urllib.request.urlopen(sys.argv[1] + "/_api/" + api["ApiId"] + "/text").read().decode())
try:
    gw.create_route(ApiId=api["ApiId"], RouteKey="$default")
except gw.exceptions.ConflictException as e:
    print(e.response["Error"]["Code"])
lam = boto3.client("lambda", endpoint_url=sys.argv[1], region_name="us-east-1")
assert len(lam.list_function_url_configs(FunctionName="f")["FunctionUrlConfigs"]) == 1
gw.delete_api(ApiId=api["ApiId"])
`

func (n *node) testTools(t *testing.T) {
	env := append(os.Environ(), "AWS_ACCESS_KEY_ID="+n.AccessKey, "AWS_SECRET_ACCESS_KEY="+n.SecretKey, "AWS_DEFAULT_REGION="+n.Region, "AWS_PAGER=")
	run := func(need, install, want string, args ...string) {
		t.Helper()
		if _, err := exec.LookPath(need); err != nil {
			t.Logf("%s is not installed: %s, or run make test, which does", need, install)
			return
		}
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		var errb bytes.Buffer
		cmd.Env, cmd.Stderr = env, &errb
		out, err := cmd.Output()
		if err != nil || string(out) != want {
			t.Errorf("%s: %v %s\n%s\nwant %s", need, err, errb.String(), out, want)
		}
	}
	run("aws", "apt-get install awscli", "version 1\nrenamed\n$default\n403\nversion 1\nTrue\nTrue\nNONE\n", "sh", "-c", toolScript, "sh", n.Endpoint)
	python := "/usr/bin/python3"
	if exec.CommandContext(t.Context(), python, "-c", "import boto3").Run() != nil {
		t.Log("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
		return
	}
	run(python, "apt-get install python3", "version 1\nConflictException\n", python, "-c", botoScript, n.Endpoint)
}

// testBrowser has a page of one origin call a function at another.
func (n *node) testBrowser(t *testing.T) {
	n.Deploy(t, lambdatest.Python{Name: "cors", Source: source})
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<title>page</title>") }))
	defer page.Close()
	url := n.url(t, "cors", func(in *lambda.CreateFunctionUrlConfigInput) {
		in.Cors = &types.Cors{AllowOrigins: []string{page.URL}, AllowMethods: []string{"PUT"}, AllowHeaders: []string{"x-mine"}, ExposeHeaders: []string{"x-amzn-requestid"}}
	})
	tab := browsertest.Open(t)
	ask := func(method, header string) (answer string) {
		t.Helper()
		js := fmt.Sprintf(`fetch(%q, {method: %q, headers: {%q: "1"}}).then(async r => r.status + " " + !!r.headers.get("x-amzn-requestid") + " " + await r.text(), e => "refused")`, url+"text", method, header)
		err := chromedp.Run(tab, chromedp.Evaluate(js, &answer, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if err := chromedp.Run(tab, chromedp.Navigate(page.URL)); err != nil {
		t.Fatal(err)
	}
	if got := ask("PUT", "x-mine"); got != "200 true version 1" {
		t.Errorf("what is allowed: %s", got)
	}
	if got := ask("DELETE", "x-mine"); got != "refused" {
		t.Errorf("another method: %s", got)
	}
	if got := ask("PUT", "x-other"); got != "refused" {
		t.Errorf("another header: %s", got)
	}
}

// testDeployUnderLoad keeps calling a URL while its function's instances come and
// its code and configuration change: no request may fail, and the new one is
// served in the end.
func (n *node) testDeployUnderLoad(t *testing.T) {
	n.Deploy(t, lambdatest.Python{Name: "load", Source: source})
	url := n.url(t, "load", nil) + "text"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served atomic.Int64
	failed := make(chan string, 1)
	done := make(chan struct{})
	const clients = 6
	for range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				res, err := n.http.Get(url)
				if err != nil {
					fail(failed, err.Error())
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(string(b), "version ") {
					fail(failed, fmt.Sprintf("%s %s %v", res.Status, b, err))
					return
				}
				served.Add(1)
			}
		}()
	}
	for v := 2; v <= 4; v++ {
		n.SetEnv(t, "load", map[string]string{"VERSION": fmt.Sprint(v)})
	}
	code := strings.Replace(source, `"version "`, `"version 5 of "`, 1)
	if _, err := n.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("load"), ZipFile: lambdatest.Zip(t, "app.py", code)}); err != nil {
		t.Fatal(err)
	}
	n.Updated(t, "load")
	_, body := n.do(t, http.MethodGet, url, "")
	cancel()
	for range clients {
		<-done
	}
	select {
	case why := <-failed:
		t.Errorf("after %d requests one failed: %s", served.Load(), why)
	default:
	}
	if body != "version 5 of 4" || served.Load() == 0 {
		t.Errorf("in the end %q after %d requests", body, served.Load())
	}
}

func fail(to chan string, why string) {
	select {
	case to <- why:
	default:
	}
}

func TestTLSServesEndpointsOverHTTP2(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := certificate(t, dir, "*.fn.localhost")
	n := mayflytest.StartWith(t, mayflytest.Options{TLSListen: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
	c := lambdatest.New(n)
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	u, err := c.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: aws.String("f"), AuthType: types.FunctionUrlAuthTypeNone})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(*u.FunctionUrl, "/"), "https://"), ":")
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	res, err := client.Get(*u.FunctionUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.ProtoMajor != 2 || !strings.Contains(string(b), `"x-forwarded-proto": "https"`) || !strings.Contains(string(b), `"protocol": "HTTP/2.0"`) {
		t.Errorf("%s %s, %v", res.Proto, b, err)
	}
}

// certificate makes a certificate of its own signature, in two files.
func certificate(t *testing.T, dir, host string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(cert, certPEM, 0o600), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600)); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, roots
}

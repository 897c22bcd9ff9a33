package http

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	agw "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// testWebhook runs the guide's webhook.
func (n *node) testWebhook(t *testing.T) {
	code, err := os.ReadFile("../../examples/webhook/app.py")
	if err != nil {
		t.Fatal(err)
	}
	n.Deploy(t, lambdatest.Python{Name: "webhook", Source: string(code), Env: map[string]string{"WEBHOOK_SECRET": "s3cret"}})
	url := n.url(t, "webhook", nil)
	sign := func(secret, body string) string {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(h.Sum(nil))
	}
	const body = `{"event": "paid"}`
	for _, tc := range []struct {
		name, content, body, signature string
		status                         int
	}{
		{"signed", "application/json", body, sign("s3cret", body), 200},
		{"signed, as a form", "application/x-www-form-urlencoded", body, sign("s3cret", body), 200},
		{"another secret", "application/json", body, sign("other", body), 401},
		{"another body", "application/json", `{"event": "free"}`, sign("s3cret", body), 401},
		{"not signed", "application/json", body, "", 401},
		{"signed nonsense", "application/json", "x", sign("s3cret", "x"), 400},
	} {
		res, answer := n.do(t, http.MethodPost, url, tc.body, "Content-Type", tc.content, "X-Signature", tc.signature)
		if res.StatusCode != tc.status {
			t.Errorf("%s: %s %s", tc.name, res.Status, answer)
		}
	}
}

// testGoStream reads the first part of an answer that aws-lambda-go makes of a
// reader, long before there is a second one.
func (n *node) testGoStream(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-tags=lambda.norpc", "-o", program, "../../bench/handlers/web")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: aws.String("stream"), Role: aws.String(lambdatest.Role), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Timeout: aws.Int32(60), Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, "bootstrap", string(code))},
	}
	if _, err := n.CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	n.Active(t, "stream")
	url := n.url(t, "stream", func(in *lambda.CreateFunctionUrlConfigInput) { in.InvokeMode = types.InvokeModeResponseStream })
	if res, body := n.do(t, http.MethodGet, url+"stream", ""); res.StatusCode != http.StatusOK || body != "first last" {
		t.Errorf("%s %q", res.Status, body)
	}
	res, err := n.http.Get(url + "stream?pause=10m")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, len("first"))
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
		t.Errorf("%q, %v", first, err)
	}
}

// database starts a PostgreSQL of the test's own on an address that functions can
// reach.
func database(t *testing.T) netip.AddrPort {
	t.Helper()
	bin, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bin) == 0 {
		t.Skip("postgresql is not installed: apt-get install postgresql, or run make test, which does")
	}
	owner, err := user.Lookup("postgres")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("PostgreSQL needs its user, and functions a network: run as root")
	}
	addr := lambdatest.OwnAddress(t)
	l, err := net.Listen("tcp", addr.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()

	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	dir, err := os.MkdirTemp("", "mayfly-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	command := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(filepath.Dir(bin[0]), program), args...)
		cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "--auth=trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all 0.0.0.0/0 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chown(filepath.Join(data, "pg_hba.conf"), uid, gid)
	srv := command("postgres", "-D", data, "-h", addr.String(), "-p", fmt.Sprint(at.Port()), "-k", "", "-c", "fsync=off")
	srv.Stderr = t.Output()
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Process.Signal(syscall.SIGINT) // a fast shutdown
		srv.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", at.String())
		if err == nil {
			c.Close()
			return at
		}
		if time.Now().After(end) {
			t.Fatalf("PostgreSQL does not answer: %v", err)
		}
	}
}

func TestTheRESTExampleKeepsItsPetsInPostgreSQL(t *testing.T) {
	db := database(t)
	bootstrap := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", bootstrap, "../../examples/pets-postgres")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	code, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	n := startWith(t, mayflytest.Options{EgressHost: []netip.AddrPort{db}})
	ctx := t.Context()
	_, err = n.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String("pets"), Role: aws.String(lambdatest.Role), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		MemorySize: aws.Int32(256), Timeout: aws.Int32(30), Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, "bootstrap", string(code))},
		Environment: &types.Environment{Variables: map[string]string{"DATABASE_URL": "postgres://postgres@" + db.String() + "/postgres?sslmode=disable"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Active(t, "pets")
	api, err := n.gateway.CreateApi(ctx, &apigatewayv2.CreateApiInput{
		Name: aws.String("pets"), ProtocolType: agw.ProtocolTypeHttp, Target: aws.String("arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:pets"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "/pets", "", `200 []`},
		{"POST", "/pets", `{"name": "Rex", "kind": "dog"}`, `201 {"id":1,"name":"Rex","kind":"dog"}`},
		{"POST", "/pets", `{"name": "'; DROP TABLE pets; --", "kind": "cat"}`, `201 {"id":2,"name":"'; DROP TABLE pets; --","kind":"cat"}`},
		{"POST", "/pets", `{}`, `400 {"error":"send a pet: {\"name\": …, \"kind\": …}"}`},
		{"GET", "/pets/1", "", `200 {"id":1,"name":"Rex","kind":"dog"}`},
		{"DELETE", "/pets/2", "", `200 {"id":2,"name":"'; DROP TABLE pets; --","kind":"cat"}`},
		{"GET", "/pets/2", "", `404 {"error":"there is no such pet"}`},
		{"PUT", "/pets/1", "", `405 {"error":"GET or DELETE"}`},
		{"GET", "/pets", "", `200 [{"id":1,"name":"Rex","kind":"dog"}]`},
	} {
		res, body := n.do(t, tc.method, *api.ApiEndpoint+tc.path, tc.body, "Content-Type", "application/json")
		if got := strconv.Itoa(res.StatusCode) + " " + strings.TrimSpace(body); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.method, tc.path, got, tc.want)
		}
	}
}

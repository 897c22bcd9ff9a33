package snapshots

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// serve answers each line on each connection, on an address of this machine that
// functions can be let through to.
func serve(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(lambdatest.OwnAddress(t), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if _, err := io.WriteString(c, "answer"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestConnectionsOfInitAreResetInCopies proves that code notices at once: what
// waited for an answer would wait for ever.
func TestConnectionsOfInitAreResetInCopies(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("functions have a network only where the node runs as root")
	}
	server := serve(t)
	n := start(t, mayflytest.Options{EgressHost: []netip.AddrPort{server}})
	for _, f := range []struct {
		name, file, source string
		runtime            types.Runtime
		handler            string
	}{
		{"python", "app.py", "testdata/connected.py", types.RuntimePython311, "app.handler"},
		{"node", "app.mjs", "testdata/connected.mjs", types.RuntimeNodejs20x, "app.handler"},
	} {
		t.Run(f.name, func(t *testing.T) {
			if _, err := exec.LookPath("node"); err != nil && f.name == "node" {
				t.Skip("node is missing")
			}
			_, err := n.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
				FunctionName: &f.name, Role: aws.String(lambdatest.Role), Runtime: f.runtime, Handler: &f.handler,
				MemorySize: aws.Int32(256), Timeout: aws.Int32(60), Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, f.file, read(t, f.source))},
				Environment: &types.Environment{Variables: map[string]string{"SERVER": server.String()}},
			})
			if err != nil {
				t.Fatal(err)
			}
			n.Active(t, f.name)
			if first := n.saved(t, f.name); first.Born != "answer" || first.Kept != "answer" || first.Again != "answer" {
				t.Errorf("before the snapshot: %+v", first)
			}
			for _, a := range n.copies(t, f.name, 1) {
				t.Logf("in a copy the connection of init gives %s", a.Kept)
				// Node closes a socket whose end it reads before it is used.
				if !slices.Contains([]string{"ECONNRESET", "EPIPE", "ENOTCONN", "ECONNABORTED", "closed"}, a.Kept) {
					t.Errorf("in a copy the connection of init gives %q", a.Kept)
				}
				if a.Born != "answer" || a.Again != "answer" {
					t.Errorf("in a copy a new connection gives %q; init got %q", a.Again, a.Born)
				}
			}
		})
	}
}

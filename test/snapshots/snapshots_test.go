// Package snapshots checks on a real node that instances made of a snapshot are
// as good as others, and not each other's twins.
package snapshots

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

// patience is for what a busy machine does in the background.
const patience = 2 * time.Minute

// answer is what the functions tell of themselves.
type answer struct {
	Born        string   // made by init
	Now         float64  // seconds since the epoch
	Random      []string // each differs from instance to instance
	Stream, Env string   // the log stream, as the context and the environment name it
	Hooks       []string
	Secret      any
	Kept, Again string // how init's connection answers, and a new one
	Signed      signed
}

type node struct {
	*lambdatest.Client
	node *mayflytest.Node
	dir  string
}

func (n node) stop(t *testing.T) {
	t.Helper()
	if err := n.node.Stop(); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o mayflytest.Options) node {
	n := mayflytest.StartWith(t, o)
	return node{lambdatest.New(n), n, filepath.Join(n.DataDir, "snapshots")}
}

// files returns the snapshots that are complete.
func (n node) files(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(n.dir, "*.state"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// awaitFiles waits until there are so many snapshots.
func (n node) awaitFiles(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(n.files(t)) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there are %d snapshots, want %d", len(n.files(t)), want)
		}
	}
}

// saved calls name once and waits for the snapshot that follows.
func (n node) saved(t *testing.T, name string) (first answer) {
	t.Helper()
	before := len(n.files(t))
	r := n.MustCall(t, name, map[string]any{}, &first)
	if !strings.Contains(r.Tail, "Init Duration") || strings.Contains(r.Tail, "Restore Duration") {
		t.Errorf("the first call's log: %s", r.Tail)
	}
	n.awaitFiles(t, before+1)
	return first
}

// copies calls name until so many instances have come of its snapshot, and
// returns their answers.
func (n node) copies(t *testing.T, name string, want int) (all []answer) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(all) < want; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d instances came of a snapshot", len(all), want)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range want + 1 {
			wg.Go(func() {
				r, err := n.Call(t.Context(), name, map[string]any{"sleep": 1})
				if err != nil || r.Failure != "" {
					t.Errorf("call %s: %v %s", name, err, r.Payload)
					return
				}
				if !strings.Contains(r.Tail, "Restore Duration: ") || !strings.Contains(r.Tail, "Billed Restore Duration: ") {
					return
				}
				if strings.Contains(r.Tail, "Init Duration") {
					t.Errorf("a copy ran an init: %s", r.Tail)
				}
				var a answer
				if err := json.Unmarshal([]byte(r.Payload), &a); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, a)
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	return all
}

// deploy makes a function of one file of testdata.
func (n node) deploy(t *testing.T, name string, rt types.Runtime, file, content string) {
	t.Helper()
	_, err := n.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(lambdatest.Role), Runtime: rt, Handler: aws.String("app.handler"),
		MemorySize: aws.Int32(256), Timeout: aws.Int32(60), Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, file, content)},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Active(t, name)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// goFunction compiles a program of testdata.
func goFunction(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/"+name)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return read(t, out)
}

func TestCopiesOfASnapshotAreNoTwins(t *testing.T) {
	n := start(t, mayflytest.Options{})
	check := func(t *testing.T, name string) []answer {
		first := n.saved(t, name)
		all := n.copies(t, name, 2)
		for i, a := range all {
			if a.Born != all[0].Born || a.Born == first.Born {
				t.Error("copies don't share one init, which is not that of the first instance")
			}
			if off := time.Since(time.UnixMilli(int64(a.Now * 1000))).Abs(); off > time.Minute {
				t.Errorf("the clock is off by %v", off)
			}
			if a.Stream != a.Env || a.Stream == first.Stream && a.Stream != "" {
				t.Errorf("log stream %q, in the environment %q; the first instance has %q", a.Stream, a.Env, first.Stream)
			}
			for _, b := range all[:i] {
				if a.Stream != "" && a.Stream == b.Stream {
					t.Error("two copies have one log stream")
				}
				for k := range a.Random {
					if a.Random[k] == b.Random[k] {
						t.Errorf("value %d is %s in two copies", k, a.Random[k])
					}
				}
			}
		}
		return all
	}
	t.Run("python", func(t *testing.T) {
		n.deploy(t, "python", types.RuntimePython311, "app.py", read(t, "testdata/function.py"))
		for _, a := range check(t, "python") {
			if want := []string{"before 2", "before 1", "after 1", "after 2"}; !slices.Equal(a.Hooks, want) || a.Secret != nil {
				t.Errorf("hooks ran as %q, want %q; what one forgot is %v", a.Hooks, want, a.Secret)
			}
		}
	})
	t.Run("node", func(t *testing.T) {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("node is missing")
		}
		n.deploy(t, "node", types.RuntimeNodejs20x, "app.js", read(t, "testdata/function.cjs"))
		check(t, "node")
	})
	t.Run("go", func(t *testing.T) {
		program := goFunction(t, "gofunc")
		n.deploy(t, "go", types.RuntimeProvidedal2023, "bootstrap", program)
		check(t, "go")

		n.deploy(t, "hooks", types.RuntimeProvidedal2023, "bootstrap", program)
		all := check(t, "hooks")
		for i, a := range all {
			if len(a.Hooks) != 1 || i > 0 && a.Hooks[0] == all[0].Hooks[0] {
				t.Errorf("the hook of a copy did %q, that of another %q", a.Hooks, all[0].Hooks)
			}
		}
	})
}

const plain = `
import time, uuid
born = uuid.uuid4().hex
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"born": born}
`

func TestSnapshotOutlivesTheNodeAndNotTheCode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	n := start(t, mayflytest.Options{DataDir: dir})
	n.deploy(t, "f", types.RuntimePython311, "app.py", plain)
	n.deploy(t, "off", types.RuntimePython311, "app.py", plain)
	n.saved(t, "f")

	t.Run("none of a function whose owner wants none", func(t *testing.T) {
		out, err := n.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
			FunctionName: aws.String("off"), SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnNone},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Updated(t, "off")
		if out.SnapStart.ApplyOn != types.SnapStartApplyOnNone || out.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
			t.Errorf("SnapStart is %+v", out.SnapStart)
		}
		n.MustCall(t, "off", map[string]any{}, nil)
		n.deploy(t, "g", types.RuntimePython311, "app.py", plain)
		n.saved(t, "g") // comes after it in the queue
		if len(n.files(t)) != 2 {
			t.Errorf("there are %d snapshots, want those of f and g", len(n.files(t)))
		}
	})
	t.Run("SnapStart's states", func(t *testing.T) {
		_, err := n.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
			FunctionName: aws.String("off"), SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Updated(t, "off")
		v, err := n.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("off")})
		if err != nil {
			t.Fatal(err)
		}
		if v.SnapStart.ApplyOn != types.SnapStartApplyOnPublishedVersions || v.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
			t.Errorf("a version that has just been published shows %+v", v.SnapStart)
		}
		n.awaitFiles(t, 3) // nobody called it
		c, err := n.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("off"), Qualifier: v.Version})
		if err != nil {
			t.Fatal(err)
		}
		if c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
			t.Errorf("a version that has a snapshot shows %+v", c.SnapStart)
		}
		if r := n.MustCall(t, "off:"+*v.Version, map[string]any{}, nil); !strings.Contains(r.Tail, "Restore Duration") {
			t.Errorf("its first call: %s", r.Tail)
		}
		if _, err := n.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("off")}); err != nil {
			t.Fatal(err)
		}
		n.awaitFiles(t, 2)
	})
	t.Run("of versions that are published with their code", func(t *testing.T) {
		_, err := n.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
			FunctionName: aws.String("out"), Role: aws.String(lambdatest.Role), Runtime: types.RuntimePython311, Handler: aws.String("app.handler"),
			Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, "app.py", plain)}, Publish: true,
			SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.awaitFiles(t, 3) // nobody called it
		v, err := n.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{
			FunctionName: aws.String("out"), ZipFile: lambdatest.Zip(t, "app.py", plain+"# second\n"), Publish: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		n.awaitFiles(t, 4) // the first version keeps its own
		for _, version := range []string{"1", *v.Version} {
			if r := n.MustCall(t, "out:"+version, map[string]any{}, nil); !strings.Contains(r.Tail, "Restore Duration") {
				t.Errorf("the first call of version %s: %s", version, r.Tail)
			}
		}
		if _, err := n.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("out")}); err != nil {
			t.Fatal(err)
		}
		n.awaitFiles(t, 2)
	})
	if err := os.WriteFile(filepath.Join(n.dir, "tmp-left"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.stop(t)

	n = start(t, mayflytest.Options{DataDir: dir})
	var a, b answer
	if r := n.MustCall(t, "f", map[string]any{}, &a); !strings.Contains(r.Tail, "Restore Duration") {
		t.Errorf("the first call of a new node: %s", r.Tail)
	}
	t.Run("a damaged one is replaced", func(t *testing.T) {
		for _, f := range n.files(t) {
			if err := os.WriteFile(f, bytes.Repeat([]byte("damaged"), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := n.MustCall(t, "g", map[string]any{}, &b); !strings.Contains(r.Tail, "Init Duration") || strings.Contains(r.Tail, "Restore") {
			t.Errorf("the call that met it: %s", r.Tail)
		}
		n.awaitFiles(t, 2) // it went, and another came
		for deadline := time.Now().Add(patience); !whole(t, n.files(t)); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no new snapshot was made")
			}
		}
	})
	t.Run("new code has no use for the old one", func(t *testing.T) {
		_, err := n.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{
			FunctionName: aws.String("g"), ZipFile: lambdatest.Zip(t, "app.py", plain+"# new\n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Updated(t, "g")
		n.awaitFiles(t, 1)
		if r := n.MustCall(t, "g", map[string]any{}, nil); !strings.Contains(r.Tail, "Init Duration") {
			t.Errorf("the first call of the new code: %s", r.Tail)
		}
	})
	t.Run("a deleted function takes it along", func(t *testing.T) {
		n.awaitFiles(t, 2)
		for _, name := range []string{"f", "g"} {
			if _, err := n.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
				t.Fatal(err)
			}
		}
		n.awaitFiles(t, 0)
	})
}

// whole reports whether one of the files is none of the damaged ones.
func whole(t *testing.T, files []string) bool {
	t.Helper()
	for _, f := range files {
		if !strings.HasPrefix(read(t, f), "damaged") {
			return true
		}
	}
	return false
}

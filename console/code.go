package console

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// starter is the first code of a new function.
type starter struct {
	Family  string // of runtimes
	File    string
	Handler string
	Code    string
}

var starters = []starter{
	{"python", "app.py", "app.handler", `def handler(event, context):
    return {"message": f"Hello, {event.get('name', 'world')}!"}
`},
	{"nodejs", "index.mjs", "index.handler", `export const handler = async (event) => {
  return { message: ` + "`Hello, ${event.name ?? 'world'}!`" + ` };
};
`},
}

func starterOf(runtime string) (starter, bool) {
	i := slices.IndexFunc(starters, func(s starter) bool { return strings.HasPrefix(runtime, s.Family) })
	if i < 0 {
		return starter{}, false
	}
	return starters[i], true
}

// choice is a runtime on offer with its first code.
type choice struct {
	Runtime string
	Code    string
}

type newFunctionView struct {
	Choices []choice
	Error   string
	Name    string
	Runtime string
	Code    string
}

func (k *call) newFunction() error { return k.showNew(newFunctionView{}) }

func (k *call) showNew(v newFunctionView) error {
	n, err := k.node()
	if err != nil {
		return err
	}
	for _, r := range n.Runtimes {
		if s, ok := starterOf(r.Name); ok {
			v.Choices = append(v.Choices, choice{r.Name, s.Code})
		}
	}
	newestFirst(v.Choices)
	if v.Code == "" && len(v.Choices) > 0 {
		v.Code = v.Choices[0].Code
	}
	return k.show("function-new", "New function", v)
}

// newestFirst turns the order within each family of runtimes, whose oldest the
// node names first.
func newestFirst(choices []choice) {
	family := func(c choice) string { return strings.TrimRight(c.Runtime, "0123456789.x") }
	first := map[string]int{}
	for i := len(choices) - 1; i >= 0; i-- {
		first[family(choices[i])] = i
	}
	slices.Reverse(choices)
	slices.SortStableFunc(choices, func(a, b choice) int { return first[family(a)] - first[family(b)] })
}

// createFunction makes a function of the code in the form or of an uploaded zip
// archive.
func (k *call) createFunction() error {
	v := newFunctionView{Name: strings.TrimSpace(k.r.FormValue("name")), Runtime: k.r.FormValue("runtime"), Code: k.r.FormValue("code")}
	s, ok := starterOf(v.Runtime)
	handler := k.r.FormValue("handler")
	archive, err := k.upload("package")
	if err == nil && archive == nil {
		if !ok {
			err = errs.Newf(errs.Invalid, "%s has no inline editor: upload a zip archive.", v.Runtime)
		} else {
			archive, err = zipOf(map[string]string{s.File: v.Code})
			handler = s.Handler
		}
	}
	if err == nil {
		in := map[string]any{
			"FunctionName": v.Name, "Runtime": v.Runtime, "Handler": handler, "Code": map[string]any{"ZipFile": archive},
			"Role": "arn:aws:iam::000000000000:role/console", "Timeout": 10,
		}
		err = k.api.REST(k.ctx(), client.Functions, http.MethodPost, functionsPath, nil, in, nil)
	}
	if p := sentence(err); p != "" {
		v.Error = p
		return k.showNew(v)
	}
	if err != nil {
		return err
	}
	return k.goTo("functions/" + v.Name + "/test")
}

// sentence is what a person can mend an error by, or "".
func sentence(err error) string {
	var p *client.Problem
	var e *errs.Error
	switch {
	case errors.As(err, &p) && p.Status < 500:
		return p.Message
	case errors.As(err, &e):
		return e.Message
	}
	return ""
}

// upload returns the file that a form carries, or nil.
func (k *call) upload(field string) ([]byte, error) {
	f, _, err := k.r.FormFile(field)
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "The upload could not be read: %v.", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "The upload could not be read: %v.", err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return b, nil
}

func zipOf(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, strings.ReplaceAll(text, "\r\n", "\n")); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// The editor shows packages of a few text files.
const (
	maxEditFile  = 200 << 10
	maxEditFiles = 20
)

// sourceFile is a file of a package that the editor can show.
type sourceFile struct{ Name, Text string }

type codeView struct {
	Files  []sourceFile
	Why    string // the package can't be edited here
	Notice *notice
}

// sources reads a function's package. why says in words that it is not for the
// editor.
func (k *call) sources(name string) (files []sourceFile, why string, err error) {
	var f struct{ Code struct{ Location string } }
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodGet, functionPath(name), nil, nil, &f); err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(k.ctx(), http.MethodGet, f.Code.Location, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := k.api.HTTP.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, "", fmt.Errorf("read the package of %s: %w", name, err)
	}
	if len(archive.File) > maxEditFiles {
		return nil, fmt.Sprintf("The package holds %d files: deploy it from its directory.", len(archive.File)), nil
	}
	for _, f := range archive.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if f.UncompressedSize64 > maxEditFile {
			return nil, f.Name + " is too large for the editor: deploy from the package's directory.", nil
		}
		text, err := readFile(f)
		if err != nil {
			return nil, "", err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil, f.Name + " is no text: deploy from the package's directory.", nil
		}
		files = append(files, sourceFile{f.Name, string(text)})
	}
	return files, "", nil
}

func readFile(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxEditFile))
}

func (k *call) codePage() error {
	files, why, err := k.sources(k.r.PathValue("name"))
	if err != nil {
		return err
	}
	return k.showTab("code", codeView{Files: files, Why: why})
}

// saveCode deploys the files in the form, or an uploaded package.
func (k *call) saveCode() error {
	name := k.r.PathValue("name")
	archive, err := k.upload("package")
	if err != nil {
		return err
	}
	if archive == nil {
		files := map[string]string{}
		for i := range maxEditFiles {
			if file := k.r.FormValue("name" + strconv.Itoa(i)); file != "" {
				files[file] = k.r.FormValue("text" + strconv.Itoa(i))
			}
		}
		if archive, err = zipOf(files); err != nil {
			return err
		}
	}
	in := map[string]any{"ZipFile": archive}
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodPut, functionPath(name, "/code"), nil, in, nil); err != nil {
		return err
	}
	return k.fragment("notice", notice{Text: "Deployed. The next call runs the new code."})
}

type configurationView struct{ Environment string }

func (k *call) configurationPage() error {
	c, err := k.configuration(k.r.PathValue("name"))
	if err != nil {
		return err
	}
	var lines []string
	for name, value := range c.Environment.Variables {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	return k.showTab("configuration", configurationView{strings.Join(lines, "\n")})
}

func (k *call) saveConfiguration() error {
	in := map[string]any{"Description": k.r.FormValue("description"), "Handler": k.r.FormValue("handler")}
	for field, name := range map[string]string{"memory": "MemorySize", "timeout": "Timeout"} {
		n, err := strconv.Atoi(k.r.FormValue(field))
		if err != nil {
			return errs.Newf(errs.Invalid, "%q is not a whole number.", k.r.FormValue(field))
		}
		in[name] = n
	}
	variables, err := parseEnvironment(k.r.FormValue("environment"))
	if err != nil {
		return err
	}
	in["Environment"] = map[string]any{"Variables": variables}
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodPut, functionPath(k.r.PathValue("name"), "/configuration"), nil, in, nil); err != nil {
		return err
	}
	return k.fragment("notice", notice{Text: "Saved. The next call runs with it."})
}

// parseEnvironment reads NAME=value lines.
func parseEnvironment(text string) (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, errs.Newf(errs.Invalid, "%q is not NAME=value.", line)
		}
		out[strings.TrimSpace(name)] = value
	}
	return out, nil
}

// compact makes JSON shorter where it is JSON.
func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}

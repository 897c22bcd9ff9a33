// Command gen writes the shapes, operation table and handler interface of each
// service that has an operations list in internal/api/aws/models.
//
//	go generate ./internal/api/aws/wire/gen
//
// writes internal/api/aws/SERVICE/api_gen.go for every models/SERVICE.operations.
// To serve one more operation, add a line to that list. If the trimmed model
// SERVICE.json next to it does not know the operation yet, trim it anew from
// botocore's complete model (botocore/data/SERVICE/VERSION/service-2.json):
//
//	go run ./internal/api/aws/wire/gen -from service-2.json SERVICE
//
// What the complete model lacks is laid over it from models/SERVICE.overlay.json:
// names and codes of the query protocol, for services that speak it besides JSON.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

//go:generate go run . -root ../..

func main() {
	root := flag.String("root", "internal/api/aws", "the folder that holds models and the services' packages")
	from := flag.String("from", "", "trim this complete model into models/SERVICE.json first")
	flag.Parse()
	if err := run(*root, *from, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run generates the services named, or all that have an operations list.
func run(root, from string, services []string) error {
	if from != "" && len(services) != 1 {
		return fmt.Errorf("-from takes the model of one service: name it as the argument")
	}
	if len(services) == 0 {
		lists, err := filepath.Glob(filepath.Join(root, "models", "*.operations"))
		if err != nil {
			return err
		}
		for _, l := range lists {
			services = append(services, strings.TrimSuffix(filepath.Base(l), ".operations"))
		}
	}
	for _, service := range services {
		if from != "" {
			if err := trim(root, from, service); err != nil {
				return fmt.Errorf("%s: %w", service, err)
			}
		}
		code, err := generate(root, service)
		if err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		if err := os.MkdirAll(filepath.Join(root, service), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, service, "api_gen.go"), code, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the Go code of one service, from its list and trimmed model.
func generate(root, service string) ([]byte, error) {
	operations, err := readList(filepath.Join(root, "models", service+".operations"))
	if err != nil {
		return nil, err
	}
	full, err := readModel(filepath.Join(root, "models", service+".json"), "")
	if err != nil {
		return nil, err
	}
	model, err := full.Trim(operations)
	if err != nil {
		return nil, fmt.Errorf("%w; trim the complete model again with -from", err)
	}
	return emit(service, model)
}

// trim writes models/SERVICE.json: the part of a complete model that the
// service's list needs.
func trim(root, from, service string) error {
	operations, err := readList(filepath.Join(root, "models", service+".operations"))
	if err != nil {
		return err
	}
	full, err := readModel(from, filepath.Join(root, "models", service+".overlay.json"))
	if err != nil {
		return err
	}
	model, err := full.Trim(operations)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(model, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "models", service+".json"), append(b, '\n'), 0o644)
}

// readModel reads a model and lays the overlay, if there is one, over it.
func readModel(path, overlay string) (*botocore.Model, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch over, err := os.ReadFile(overlay); {
	case err == nil:
		var patch map[string]any
		if err := json.Unmarshal(over, &patch); err != nil {
			return nil, fmt.Errorf("%s: %w", overlay, err)
		}
		lay(raw, patch)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if b, err = json.Marshal(raw); err != nil {
		return nil, err
	}
	var m botocore.Model
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &m, nil
}

// lay merges patch into an object, object by object.
func lay(object, patch map[string]any) {
	for k, v := range patch {
		inner, isObject := v.(map[string]any)
		if there, ok := object[k].(map[string]any); ok && isObject {
			lay(there, inner)
			continue
		}
		object[k] = v
	}
}

// readList reads operation names, one a line; # begins a comment. They come
// back sorted.
func readList(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			names = append(names, line)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

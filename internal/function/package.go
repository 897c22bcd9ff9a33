package function

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Reasons of errors about code packages.
const (
	ReasonNoPackage    = "NoPackage"       // Invalid: no code was given
	ReasonEmptyPackage = "EmptyPackage"    // Invalid: no file in it
	ReasonNotZip       = "NotZip"          // Invalid: not a zip archive
	ReasonUnpacked     = "UnpackedSize"    // Invalid: over Limits.Unpacked
	ReasonPackage      = "PackageSize"     // TooLarge: over Limits.Package
	ReasonCodeStorage  = "CodeStorageSize" // TooLarge: over Limits.CodeStorage
)

// checkPackage reports whether b is a code package: a zip archive within the
// limits, judged by its directory. Building the image checks the rest.
func checkPackage(b []byte, l Limits) error {
	switch {
	case len(b) == 0:
		return errs.Newf(errs.Invalid, "no code was given: send a zip archive").WithReason(ReasonNoPackage)
	case int64(len(b)) > l.Package:
		return errs.Newf(errs.TooLarge, "the code package has %d bytes, %d are allowed", len(b), l.Package).WithReason(ReasonPackage)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return errs.Newf(errs.Invalid, "the code package is not a zip archive: %w", err).WithReason(ReasonNotZip)
	}
	var total uint64
	files := 0
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		files++
		// The sum can't overflow: the check ends the loop first.
		if f.UncompressedSize64 > uint64(l.Unpacked) || total+f.UncompressedSize64 > uint64(l.Unpacked) {
			return errs.Newf(errs.Invalid, "the code package's files have more than %d bytes", l.Unpacked).WithReason(ReasonUnpacked)
		}
		total += f.UncompressedSize64
	}
	if files == 0 {
		return errs.Newf(errs.Invalid, "the code package holds no file").WithReason(ReasonEmptyPackage)
	}
	return nil
}

func codeOf(b []byte) Code {
	sum := sha256.Sum256(b)
	return Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(b))}
}

// store keeps b, and keeps the collector away from it until release is
// called: by then a document refers to it, or release removes it.
func (r *Registry) store(ctx context.Context, b []byte) (c Code, release func(), err error) {
	c = codeOf(b)
	r.collecting.Lock() // not between a collector's look and its deletion
	r.pins[c.Key()]++
	r.collecting.Unlock()
	release = func() {
		r.collecting.Lock()
		if r.pins[c.Key()]--; r.pins[c.Key()] == 0 {
			delete(r.pins, c.Key())
		}
		r.collecting.Unlock()
		r.discard(ctx, c.Key())
	}
	if _, err := r.o.Packages.Put(ctx, c.Key(), bytes.NewReader(b)); err != nil {
		release()
		return Code{}, nil, err
	}
	return c, release, nil
}

// collect removes the named packages, as far as nothing refers to them.
func (r *Registry) collect(ctx context.Context, keys ...string) error {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	used := r.usedPackages()
	for _, k := range keys {
		if used[k] || r.pins[k] > 0 {
			continue
		}
		if err := r.o.Packages.Delete(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// discard is collect for a caller whose own work is done: what could not be
// removed now will be at the next start.
func (r *Registry) discard(ctx context.Context, keys ...string) {
	if err := r.collect(context.WithoutCancel(ctx), keys...); err != nil {
		r.o.Log.Warn("unused code packages can't be removed now; the next start of the node will", "packages", keys, "err", err)
	}
}

// collectAll removes every package that nothing refers to: what a node left
// that died between storing a package and its document.
func (r *Registry) collectAll(ctx context.Context) error {
	var keys []string
	for info, err := range r.o.Packages.List(ctx, keyOfCode) {
		if err != nil {
			return err
		}
		keys = append(keys, info.Key)
	}
	return r.collect(ctx, keys...)
}

func (r *Registry) usedPackages() map[string]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	used := make(map[string]bool, len(r.entries))
	for _, e := range r.entries {
		for _, k := range e.doc.packages() {
			used[k] = true
		}
	}
	return used
}

// OpenCode opens a code package, or fails with errs.NotFound. The caller closes
// it.
func (r *Registry) OpenCode(ctx context.Context, c Code) (blob.Reader, error) {
	return r.o.Packages.Open(ctx, c.Key())
}

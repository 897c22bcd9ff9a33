// Package access keeps the access keys by which callers prove who they are.
package access

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// File is the name of the keys' file in a node's data directory.
const File = "keys.json"

// Key is one access key.
type Key struct {
	ID      string    `json:"accessKeyId"`     // 20 characters
	Secret  string    `json:"secretAccessKey"` // 40 characters
	Created time.Time `json:"created"`
}

// Keys are the access keys of a node. They don't change after Open, so that
// all methods are safe for concurrent use.
type Keys struct{ keys []Key }

// stored is the form of the file.
type stored struct {
	Keys []Key `json:"keys"`
}

// Open reads the keys in dir. The first call makes one, in a file that only
// its owner can read; created is then true. A file that others than its owner
// can read is refused: its secret may have leaked.
func Open(dir string) (k *Keys, created bool, err error) {
	path := filepath.Join(dir, File)
	k, err = Read(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	key := newKey()
	if err := write(path, stored{Keys: []Key{key}}); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process made it meanwhile
			k, err = Read(dir)
			return k, false, err
		}
		return nil, false, err
	}
	return &Keys{keys: []Key{key}}, true, nil
}

// Read reads the keys in dir, and fails with fs.ErrNotExist if there are none:
// it is for those who talk to a node, not for the node.
func Read(dir string) (*Keys, error) {
	path := filepath.Join(dir, File)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("access keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("access keys: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, errs.Newf(errs.Denied, "access keys: %s can be read or written by others (mode %04o): run chmod 600 %s, or delete the file to have a new key made if the old one may be known", path, perm, path)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("access keys: %w", err)
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("access keys: %s: %w", path, err)
	}
	if len(s.Keys) == 0 {
		return nil, fmt.Errorf("access keys: %s holds no key: delete it to have one made", path)
	}
	for _, k := range s.Keys {
		if !idRE.MatchString(k.ID) || len(k.Secret) < 16 {
			return nil, fmt.Errorf("access keys: %s: the key %q is not one: an id has 16 to 128 letters and digits, a secret at least 16 characters", path, k.ID)
		}
	}
	return &Keys{keys: s.Keys}, nil
}

var idRE = regexp.MustCompile(`^\w{16,128}$`)

// write makes the file with all its content at once, and fails with
// fs.ErrExist if there is one.
func write(path string, s stored) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+File+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("access keys: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), path) // unlike rename, never replaces
	}
	if err != nil {
		return fmt.Errorf("access keys: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("access keys: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("access keys: %w", err)
	}
	return nil
}

// The alphabets of ids and secrets, as tools expect them (secret scanners
// among them).
const (
	idPrefix   = "AKIA"
	idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"                                 // 32
	secretABC  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" // 64
)

func newKey() Key {
	return Key{
		ID:      idPrefix + random(16, idAlphabet),
		Secret:  random(40, secretABC),
		Created: time.Now().UTC().Truncate(time.Second),
	}
}

// random returns n characters of an alphabet whose length divides 256, each
// equally likely.
func random(n int, alphabet string) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// Primary returns the key that people and tools of this node use.
func (k *Keys) Primary() Key { return k.keys[0] }

// Owner is the principal who holds the node's own keys: whoever may read its
// data directory.
const Owner = "owner"

// Secret returns the secret of an access key and who holds it, or an
// errs.NotFound error if the node has no such key.
func (k *Keys) Secret(_ context.Context, id string) (secret, principal string, err error) {
	for i := range k.keys {
		if k.keys[i].ID == id {
			return k.keys[i].Secret, Owner, nil
		}
	}
	return "", "", errs.Newf(errs.NotFound, "the access key %q is not one of this node's", id)
}

package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// FunctionsFile is the name of the file in a node's data directory that the keys
// of functions are derived from.
const FunctionsFile = "functions.key"

// FunctionPrefix begins the principal of a function: "function:NAME".
const FunctionPrefix = "function:"

// functionID begins the ids of functions' keys, as tools expect it of keys that
// come with a token.
const functionID = "ASIA"

// OfFunction reports whether an access key's id has the form of a function's.
func OfFunction(id string) bool { return strings.HasPrefix(id, functionID) }

// SessionKey is a key that is valid with its token only.
type SessionKey struct{ ID, Secret, Token string }

// Functions says which functions there are. It is safe for concurrent use.
type Functions interface {
	// Created returns when the function was made, or an errs.NotFound error.
	Created(name string) (time.Time, error)
	// Names returns the names of all functions.
	Names() []string
}

// Credentials are a node's keys and those of its functions. A function's key is
// derived from its name and the time when it was made: it is the same for all
// its instances and after each start, and ends with the function. All methods are
// safe for concurrent use.
type Credentials struct {
	*Keys
	root []byte

	mu        sync.Mutex
	functions Functions         // guarded by mu: nil until the node knows them
	byID      map[string]string // guarded by mu: names of functions by the ids of their keys
}

// WithFunctions returns the keys and, once Know was called, those of functions.
// Its secret is a file in dir, which is made if need be.
func (k *Keys) WithFunctions(dir string) (*Credentials, error) {
	path := filepath.Join(dir, FunctionsFile)
	c := &Credentials{Keys: k, byID: map[string]string{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.root = make([]byte, 32)
		rand.Read(c.root) // never fails
		err = writeSecret(path, hex.EncodeToString(c.root)+"\n")
	} else if err == nil {
		c.root, err = hex.DecodeString(strings.TrimSpace(string(text)))
		if err == nil && len(c.root) != 32 {
			err = errors.New("it does not hold 32 bytes in hex: delete it to have one made")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keys of functions: %s: %w", path, err)
	}
	return c, nil
}

// writeSecret makes a file that only its owner can read, on disk when it returns.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Know says which functions there are. Call it once.
func (c *Credentials) Know(f Functions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.functions = f
}

// Function returns the key of a function, or an errs.NotFound error.
func (c *Credentials) Function(name string) (SessionKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.function(name)
}

// function is Function under mu.
func (c *Credentials) function(name string) (SessionKey, error) {
	if c.functions == nil {
		return SessionKey{}, errs.Newf(errs.NotFound, "functions are not known yet")
	}
	created, err := c.functions.Created(name)
	if err != nil {
		return SessionKey{}, err
	}
	part := func(kind string) []byte {
		h := hmac.New(sha256.New, c.root)
		fmt.Fprintf(h, "%s\x00%s\x00%d", kind, name, created.UnixNano())
		return h.Sum(nil)
	}
	k := SessionKey{
		ID:     functionID + spell(part("id"), 16, idAlphabet),
		Secret: base64.StdEncoding.EncodeToString(part("secret"))[:40],
		Token:  base64.StdEncoding.EncodeToString(append(part("token"), part("token 2")...)),
	}
	c.byID[k.ID] = name
	return k, nil
}

// spell writes the first n bytes in an alphabet whose length divides 256.
func spell(b []byte, n int, alphabet string) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(out)
}

// find returns the function whose key has the id.
func (c *Credentials) find(id string) (name string, k SessionKey, err error) {
	missing := errs.Newf(errs.NotFound, "the access key %q is not one of this node's", id)
	if !OfFunction(id) {
		return "", k, missing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.byID[id]; ok {
		if k, err := c.function(name); err == nil && k.ID == id {
			return name, k, nil
		}
		delete(c.byID, id) // the function is gone, or another of its name
		return "", k, missing
	}
	if c.functions == nil {
		return "", k, missing
	}
	for _, name := range c.functions.Names() { // after a start nobody has asked for their keys yet
		if k, err := c.function(name); err == nil && k.ID == id {
			return name, k, nil
		}
	}
	return "", k, missing
}

// Secret returns the secret of an access key and who holds it, or an
// errs.NotFound error.
func (c *Credentials) Secret(ctx context.Context, id string) (secret, principal string, err error) {
	if secret, principal, err = c.Keys.Secret(ctx, id); err == nil || !OfFunction(id) {
		return secret, principal, err
	}
	name, k, err := c.find(id)
	if err != nil {
		return "", "", err
	}
	return k.Secret, FunctionPrefix + name, nil
}

// CheckToken returns nil if the token is the access key's: a function's key has
// one, the others have none.
func (c *Credentials) CheckToken(_ context.Context, id, token string) error {
	want := ""
	if OfFunction(id) {
		_, k, err := c.find(id)
		if err != nil {
			return err
		}
		want = k.Token
	}
	if !hmac.Equal([]byte(want), []byte(token)) {
		return errs.Newf(errs.NotFound, "the session token is not that of the access key")
	}
	return nil
}

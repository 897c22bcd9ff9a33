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
	"slices"
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
}

// Credentials are a node's keys and those of functions' instances. Each instance
// has a key of its own, which is good for what its function may do. Nothing is
// kept of it: its token says whose it is, and all of it is derived from the
// function's name, the time when that was made, and the instance. So it is the same
// after each start, and ends with the function. All methods are safe for
// concurrent use.
type Credentials struct {
	*Keys
	root []byte

	mu        sync.Mutex
	functions Functions // guarded by mu: nil until the node knows them
}

// WithFunctions returns the keys and, once Know was called, those of functions.
// Its secret is a file in dir, which is made if need be.
func (k *Keys) WithFunctions(dir string) (*Credentials, error) {
	path := filepath.Join(dir, FunctionsFile)
	c := &Credentials{Keys: k}
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

// Instance returns the key of a function's instance, or an errs.NotFound error.
// The parts of all keys of one function are as long. No instance is "", whose key
// stands for any.
func (c *Credentials) Instance(function, instance string) (SessionKey, error) {
	created, err := c.created(function)
	if err != nil {
		return SessionKey{}, err
	}
	nonce := c.derive("instance", function, created, []byte(instance))
	return c.key(function, created, nonce[:nonceSize]), nil
}

func (c *Credentials) created(function string) (time.Time, error) {
	c.mu.Lock()
	functions := c.functions
	c.mu.Unlock()
	if functions == nil {
		return time.Time{}, errs.Newf(errs.NotFound, "functions are not known yet")
	}
	return functions.Created(function)
}

// A token is a nonce, which tells the keys of one function apart, the proof that
// the node made it, and the function's name.
const (
	nonceSize = 16
	proofSize = sha256.Size
)

// tokenText needs no escaping in URLs.
var tokenText = base64.RawURLEncoding.Strict()

func (c *Credentials) key(function string, created time.Time, nonce []byte) SessionKey {
	proof := c.derive("token", function, created, nonce)
	return SessionKey{
		ID:     functionID + spell(c.derive("id", function, created, nonce), 16, idAlphabet),
		Secret: base64.StdEncoding.EncodeToString(c.derive("secret", function, created, nonce))[:40],
		Token:  tokenText.EncodeToString(slices.Concat(nonce, proof, []byte(function))),
	}
}

// derive returns bytes that only the node can tell. No name holds a zero.
func (c *Credentials) derive(kind, function string, created time.Time, more []byte) []byte {
	h := hmac.New(sha256.New, c.root)
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00", kind, function, created.UnixNano())
	h.Write(more)
	return h.Sum(nil)
}

// spell writes the first n bytes in an alphabet whose length divides 256.
func spell(b []byte, n int, alphabet string) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(out)
}

// SessionSecret returns the secret of an access key that comes with a token, and
// who holds it. It returns an errs.NotFound error unless both are of one key that
// the node made, and of a function that there still is.
func (c *Credentials) SessionSecret(_ context.Context, id, token string) (secret, principal string, err error) {
	unknown := errs.Newf(errs.NotFound, "the session token is not that of an access key of this node's")
	parts, err := tokenText.DecodeString(token)
	if err != nil || len(parts) <= nonceSize+proofSize || !OfFunction(id) {
		return "", "", unknown
	}
	function := string(parts[nonceSize+proofSize:])
	created, err := c.created(function)
	if errs.Is(err, errs.NotFound) {
		return "", "", unknown
	}
	if err != nil {
		return "", "", err
	}
	k := c.key(function, created, parts[:nonceSize])
	if !hmac.Equal([]byte(k.Token), []byte(token)) || k.ID != id {
		return "", "", unknown
	}
	return k.Secret, FunctionPrefix + function, nil
}

// Package certificate gives a server its TLS certificates: from files, or from a
// certificate authority that speaks ACME.
package certificate

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// protocols are what servers speak over TLS.
var protocols = []string{"h2", "http/1.1"}

// lookEvery is how often the files of a certificate are looked at.
const lookEvery = 10 * time.Second

// Files returns a configuration that serves the certificate, with its chain, and
// the key in two PEM files. When they change they are read anew; a pair that can't
// be read then leaves the one before in force.
func Files(cert, key string) (*tls.Config, error) {
	f := &files{cert: cert, key: key}
	if err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current(), nil },
	}, nil
}

type files struct {
	cert, key string

	mu     sync.Mutex
	pair   *tls.Certificate // guarded by mu
	looked time.Time        // guarded by mu
	stamp  [2]time.Time     // guarded by mu: of the files that were read
}

func (f *files) current() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) >= lookEvery && f.changed() {
		f.read() // on an error the pair before stays, until the next look
	}
	return f.pair
}

func (f *files) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// changed reports whether the files are others than those that were read.
func (f *files) changed() bool {
	f.looked = time.Now()
	return f.stamps() != f.stamp
}

func (f *files) stamps() (stamp [2]time.Time) {
	for i, path := range []string{f.cert, f.key} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}

func (f *files) read() error {
	f.looked = time.Now()
	stamp := f.stamps()
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return errs.Newf(errs.Invalid, "the certificate %s and the key %s can't be used: %w", f.cert, f.key, err)
	}
	f.pair, f.stamp = &pair, stamp
	return nil
}

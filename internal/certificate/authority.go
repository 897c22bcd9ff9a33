package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Authority is where certificates come from by themselves.
type Authority struct {
	Dir       string // keeps certificates and keys
	Directory string // URL of the ACME directory; "" is Let's Encrypt's
	Email     string // of the account there; may be empty
	Roots     string // PEM file with the authority's own certificate; "" trusts the system's
	Port      int    // on which the server is reached by the authority, if it is not 443

	// Allowed reports whether the server serves a host name: for others no
	// certificate is asked for.
	Allowed func(host string) bool
	Log     *slog.Logger
}

// Automatic is a TLS configuration whose certificates come from an authority. The
// first connection for a host waits for its certificate; they are renewed in time.
type Automatic struct {
	cache  *certmagic.Cache
	config *tls.Config
}

// Open returns the configuration. The server that uses it must be reachable by the
// authority, which proves control of a host by a TLS connection (tls-alpn-01).
func (a Authority) Open() (*Automatic, error) {
	issuer := certmagic.ACMEIssuer{
		CA: a.Directory, Email: a.Email, Agreed: true, DisableHTTPChallenge: true, AltTLSALPNPort: a.Port, Logger: zap.NewNop(),
	}
	if issuer.CA == "" {
		issuer.CA = certmagic.LetsEncryptProductionCA
	}
	if a.Roots != "" {
		pem, err := os.ReadFile(a.Roots)
		if err != nil {
			return nil, fmt.Errorf("read the authority's certificates: %w", err)
		}
		issuer.TrustedRoots = x509.NewCertPool()
		if !issuer.TrustedRoots.AppendCertsFromPEM(pem) {
			return nil, errs.Newf(errs.Invalid, "%s holds no certificate in PEM form", a.Roots)
		}
	}
	auto := &Automatic{}
	var magic *certmagic.Config
	auto.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil },
		Logger:           zap.NewNop(),
	})
	magic = certmagic.New(auto.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: a.Dir}, Logger: zap.NewNop(), OnEvent: a.event,
		OnDemand: &certmagic.OnDemandConfig{DecisionFunc: func(_ context.Context, host string) error {
			if !a.Allowed(host) {
				return errs.Newf(errs.Denied, "this server has nothing at %s", host)
			}
			return nil
		}},
	})
	magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(magic, issuer)}
	auto.config = magic.TLSConfig()
	auto.config.NextProtos = append(protocols[:len(protocols):len(protocols)], auto.config.NextProtos...)
	return auto, nil
}

// event tells the log what came of a certificate.
func (a Authority) event(_ context.Context, event string, data map[string]any) error {
	switch event {
	case "cert_obtained":
		a.Log.Info("got a certificate", "host", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		a.Log.Error("a certificate could not be had", "host", data["identifier"], "err", data["error"])
	}
	return nil
}

// Config returns the TLS configuration.
func (a *Automatic) Config() *tls.Config { return a.config }

// Close ends the renewals.
func (a *Automatic) Close() error {
	a.cache.Stop()
	return nil
}

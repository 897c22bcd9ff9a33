package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/certificate"
)

// openTLS listens for TLS, if the node is told to.
func (n *Node) openTLS(ctx context.Context) error {
	if n.cfg.TLSListen == "" {
		return nil
	}
	var lc net.ListenConfig
	var err error
	if n.tlsListener, err = lc.Listen(ctx, "tcp", n.cfg.TLSListen); err != nil {
		return fmt.Errorf("listen for TLS; choose another address with --tls-listen: %w", err)
	}
	config, err := n.tlsConfig()
	if err != nil {
		return err
	}
	n.tlsServer = n.newServer(n.front)
	n.tlsServer.TLSConfig = config
	return nil
}

func (n *Node) tlsConfig() (*tls.Config, error) {
	if n.cfg.TLSCert != "" {
		return certificate.Files(n.cfg.TLSCert, n.cfg.TLSKey)
	}
	_, port, err := net.SplitHostPort(n.tlsListener.Addr().String())
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	auto, err := certificate.Authority{
		Dir: n.path("certificates"), Directory: n.cfg.ACMEDirectory, Email: n.cfg.ACMEEmail, Roots: n.cfg.ACMERoots, Port: number,
		Allowed: n.front.serves, Log: n.log,
	}.Open()
	if err != nil {
		return nil, err
	}
	n.certificates = auto
	return auto.Config(), nil
}

// holder is an endpoint.Handler that knows which names it serves.
type holder interface{ Has(name string) bool }

// serves reports whether a host name is the node's, or that of an endpoint that
// exists.
func (f *front) serves(host string) bool {
	host = strings.ToLower(host)
	if host == f.domain || f.domains(host) != nil {
		return true
	}
	name, label := f.split(host)
	h, ok := f.labels[label].(holder)
	return ok && h.Has(name)
}

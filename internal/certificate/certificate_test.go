package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// write makes a certificate of its own signature for a host, in two files.
func write(t *testing.T, dir, host string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestFilesThatChangeAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	cert, key := write(t, dir, "one.example")
	f := &files{cert: cert, key: key}
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	name := func() string { return f.current().Leaf.Subject.CommonName }
	if name() != "one.example" {
		t.Errorf("serves %s", name())
	}
	write(t, dir, "two.example")
	future := time.Now().Add(time.Hour) // another time than the one before, however coarse the clock
	os.Chtimes(cert, future, future)
	f.looked = time.Time{}
	if name() != "two.example" {
		t.Errorf("serves %s after the change", name())
	}
	os.WriteFile(cert, []byte("broken"), 0o600)
	f.looked = time.Time{}
	if name() != "two.example" {
		t.Errorf("serves %s after a broken change", name())
	}
	if _, err := Files(cert, key); !errs.Is(err, errs.Invalid) {
		t.Errorf("a broken file at the start: %v", err)
	}
}

// resolver is a DNS server for which every name is this machine's.
func resolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return l.Addr().String()
}

// authority is a real ACME server. It returns its directory, the file of the
// certificate by which it is reached, and the root of those that it issues.
func authority(t *testing.T, tlsPort int) (directory, rootsFile string, issued func() *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	certs := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "for tests"}})
	validator := va.New(quiet, 1, tlsPort, false, resolver(t), store)
	front := wfe.New(quiet, store, validator, certs, []string{"test"}, false, false, 1, 1)
	srv := httptest.NewTLSServer(front.Handler())
	t.Cleanup(srv.Close)
	rootsFile = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(rootsFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.URL + wfe.DirectoryPath, rootsFile, func() *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AddCert(certs.GetRootCert(0).Cert)
		return pool
	}
}

func TestCertificatesComeFromAnAuthorityForHostsThatAreServed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	directory, roots, issued := authority(t, port)
	dir := t.TempDir()
	auto, err := Authority{
		Dir: dir, Directory: directory, Roots: roots, Port: port, Email: "ops@example.com",
		Allowed: func(host string) bool { return strings.HasSuffix(host, ".fn.example.com") },
		Log:     slog.New(slog.DiscardHandler),
	}.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer auto.Close()
	srv := &http.Server{
		TLSConfig: auto.Config(), ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }),
	}
	go srv.ServeTLS(l, "", "")
	defer srv.Close()

	get := func(host string) (string, error) {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: issued(), ServerName: host},
		}}
		res, err := c.Get("https://" + l.Addr().String())
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	for range 2 { // the second time from memory
		if got, err := get("abc.fn.example.com"); err != nil || got != "HTTP/2.0" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := get("stranger.example.com"); err == nil {
		t.Error("a host that is not served has a certificate")
	}
	if found, err := filepath.Glob(filepath.Join(dir, "certificates", "*", "abc.fn.example.com", "*.key")); err != nil || len(found) != 1 {
		t.Errorf("kept %v, %v", found, err)
	}
}

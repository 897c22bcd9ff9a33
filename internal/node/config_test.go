package node

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestConfigRefusesWhatCanNotWorkAndNamesTheField(t *testing.T) {
	tests := []struct {
		field  string
		change func(*Config)
	}{
		{"data-dir", func(c *Config) { c.DataDir = "" }},
		{"listen", func(c *Config) { c.Listen = "9555" }},
		{"listen", func(c *Config) { c.Listen = "127.0.0.1:70000" }},
		{"listen", func(c *Config) { c.Listen = "127.0.0.1:http" }},
		{"account", func(c *Config) { c.Account = "me" }},
		{"domain", func(c *Config) { c.Domain = "" }},
		{"domain", func(c *Config) { c.TLSListen, c.TLSAuto = "127.0.0.1:0", true }},
		{"tls-listen", func(c *Config) { c.TLSAuto = true }},
		{"tls-listen", func(c *Config) { c.TLSListen, c.TLSAuto = "443", true }},
		{"tls-cert", func(c *Config) { c.TLSListen = "127.0.0.1:0" }},
		{"tls-cert", func(c *Config) { c.TLSListen, c.TLSCert = "127.0.0.1:0", "cert.pem" }},
		{"tls-cert", func(c *Config) {
			c.TLSListen, c.TLSCert, c.TLSKey, c.TLSAuto = "127.0.0.1:0", "cert.pem", "key.pem", true
		}},
		{"domain", func(c *Config) { c.Domain = "my_fly.example.com" }},
		{"region", func(c *Config) { c.Region = "" }},
		{"region", func(c *Config) { c.Region = "us east" }},
		{"spine", func(c *Config) { c.Spine = "localhost:4222" }},
		{"driver", func(c *Config) { c.Driver = "docker" }},
		{"cpu", func(c *Config) { c.CPU = "all" }},
		{"egress", func(c *Config) { c.Egress = "some" }},
		{"keep-alive", func(c *Config) { c.KeepAlive = -1 }},
		{"queue-limit", func(c *Config) { c.QueueLimit = 0 }},
		{"init-limit", func(c *Config) { c.InitLimit = 0 }},
		{"concurrency", func(c *Config) { c.Concurrency = 0 }},
		{"starts", func(c *Config) { c.Starts = -1 }},
		{"memory", func(c *Config) { c.MemoryMB = 64 }},
		{"max-sync-payload", func(c *Config) { c.MaxSyncPayload = 0 }},
		{"max-async-payload", func(c *Config) { c.MaxAsyncPayload = 7 << 20 }},
		{"max-answer", func(c *Config) { c.MaxAnswer = 0 }},
	}
	for _, tt := range tests {
		c := Default()
		c.DataDir = "/nowhere"
		tt.change(&c)
		_, err := c.check()
		if !errs.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), tt.field+": ") {
			t.Errorf("%s: %v", tt.field, err)
		}
	}
}

func TestDefaultConfigFitsTheMachine(t *testing.T) {
	c := Default()
	c.DataDir = "/nowhere"
	c, err := c.check()
	if err != nil {
		t.Fatal(err)
	}
	total, err := machineMB()
	if err != nil {
		t.Fatal(err)
	}
	if c.MemoryMB >= total || c.MemoryMB < total/2 {
		t.Errorf("the budget is %d MB of the machine's %d", c.MemoryMB, total)
	}
	if c.Starts < 1 {
		t.Errorf("%d instances may be starting", c.Starts)
	}
}

func TestSecondNodeOnADataDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	first, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(dir)
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("second lock: %v, want a conflict that names the directory and the way out", err)
	}
	if pid := strings.Contains(err.Error(), strconv.Itoa(os.Getpid())); !pid {
		t.Errorf("second lock: %v does not say which process has it", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lock(dir)
	if err != nil {
		t.Fatalf("lock after the first ended: %v", err)
	}
	again.Close()
}

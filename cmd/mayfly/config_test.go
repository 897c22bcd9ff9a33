package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/mayfly-dev/mayfly/internal/node"
)

func TestFlagsGoBeforeTheEnvironmentAndThatBeforeTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mayfly.toml")
	err := os.WriteFile(file, []byte(`
listen = "file:1"
region = "file-region"
keep-alive = "1m"
memory = 1111
strict-runtimes = true
egress-deny = ["10.0.0.0/8", "192.0.2.1"]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cfg := node.Default()
	f := pflag.NewFlagSet("up", pflag.ContinueOnError)
	bindConfig(f, &cfg)
	if err := f.Parse([]string{"--listen", "flag:1"}); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"MAYFLY_LISTEN": "env:1", "MAYFLY_REGION": "env-region", "MAYFLY_KEEP_ALIVE": ""}
	err = fillConfig(f, file, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != "flag:1" || cfg.Region != "env-region" || cfg.KeepAlive != time.Minute || cfg.MemoryMB != 1111 || !cfg.StrictRuntimes {
		t.Errorf("%+v", cfg)
	}
	if len(cfg.EgressDeny) != 2 || cfg.EgressDeny[1].String() != "192.0.2.1/32" {
		t.Errorf("egress-deny: %v", cfg.EgressDeny)
	}
	if cfg.Account != node.Default().Account {
		t.Errorf("a setting that nobody gave changed: %s", cfg.Account)
	}
}

func TestConfigurationFileRefusesWhatItDoesNotKnow(t *testing.T) {
	for content, want := range map[string]string{
		"lissten = 'x'":          `no setting "lissten"`,
		"[listen]\nport = 1":     "listen must be a string",
		"keep-alive = 'forever'": "forever",
		"listen = ":              "configuration file",
		"egress-deny = ['ten']":  `"ten" is not a network`,
	} {
		file := filepath.Join(t.TempDir(), "mayfly.toml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := node.Default()
		f := pflag.NewFlagSet("up", pflag.ContinueOnError)
		bindConfig(f, &cfg)
		err := fillConfig(f, file, func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestSinceIsADurationOrATime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"all":                  {},
		"90s":                  now.Add(-90 * time.Second),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-11-23T04:00:00Z": time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC),
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local),
	} {
		got, err := parseSince(s, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"-1h", "yesterday", "d", "1x"} {
		if got, err := parseSince(s, now); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestShellQuoteGivesOneWord(t *testing.T) {
	for s, want := range map[string]string{
		"plain/path-1.2": "plain/path-1.2", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "a;b": "'a;b'",
	} {
		if got := shellQuote(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

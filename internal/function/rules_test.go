package function

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestConfigRules(t *testing.T) {
	l := DefaultLimits("amd64")
	l.MemoryMB = 2048 // a small machine
	tests := map[string]struct {
		change func(*Config)
		want   string // the violations, "" for none
	}{
		"a usual one":           {func(*Config) {}, ""},
		"least of all":          {func(c *Config) { c.MemoryMB, c.Timeout, c.TmpMB = 128, time.Second, 512 }, ""},
		"most of all":           {func(c *Config) { c.MemoryMB, c.Timeout, c.TmpMB = 2048, 900*time.Second, 10240 }, ""},
		"too little memory":     {func(c *Config) { c.MemoryMB = 127 }, "memory 127 is less than 128"},
		"more than the machine": {func(c *Config) { c.MemoryMB = 2049 }, "memory 2049 is more than 2048"},
		"no time":               {func(c *Config) { c.Timeout = 0 }, "timeout 0 is less than 1"},
		"too much time":         {func(c *Config) { c.Timeout = 901 * time.Second }, "timeout 901 is more than 900"},
		"half a second":         {func(c *Config) { c.Timeout = 1500 * time.Millisecond }, `timeout "1.5s" does not match whole seconds`},
		"too little disk":       {func(c *Config) { c.TmpMB = 511 }, "ephemeral storage 511 is less than 512"},
		"too much disk":         {func(c *Config) { c.TmpMB = 10241 }, "ephemeral storage 10241 is more than 10240"},
		"no handler":            {func(c *Config) { c.Handler = "" }, "handler is missing"},
		"handler with a space":  {func(c *Config) { c.Handler = "a b" }, `handler "a b" does not match [^\s]+`},
		"long handler":          {func(c *Config) { c.Handler = strings.Repeat("h", 129) }, "handler is longer than 128 characters"},
		"no runtime":            {func(c *Config) { c.Runtime = "" }, "runtime is missing"},
		"long description":      {func(c *Config) { c.Description = strings.Repeat("é", 257) }, "description is longer than 256 characters"},
		"description of 256":    {func(c *Config) { c.Description = strings.Repeat("é", 256) }, ""},
		"other machine":         {func(c *Config) { c.Architecture = "arm64" }, `architecture "arm64" is none of: amd64`},
		"bad variable":          {func(c *Config) { c.Env = map[string]string{"1X": ""} }, `environment: the name "1X" does not match [a-zA-Z]([a-zA-Z0-9_])+`},
		"4 KB of environment":   {func(c *Config) { c.Env = map[string]string{"KEY": strings.Repeat("x", 4093)} }, ""},
		"more than 4 KB":        {func(c *Config) { c.Env = map[string]string{"KEY": strings.Repeat("x", 4094)} }, "environment has more than 4096 bytes of names and values"},
		"two at once":           {func(c *Config) { c.MemoryMB, c.Handler = 1, "" }, "handler is missing; memory 1 is less than 128"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := goodConfig()
			tc.change(&c)
			var vs Violations
			vs.config(&c, l)
			if got := vs.Error(); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestNameRules(t *testing.T) {
	for name, ok := range map[string]bool{
		"f": true, "My_function-2": true, strings.Repeat("n", 64): true,
		"": false, "a b": false, "a.b": false, "a:b": false, "é": false, strings.Repeat("n", 65): false, "a\n": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
		var vs Violations
		if err != nil && !errors.As(err, &vs) {
			t.Errorf("CheckName(%q) does not tell the violation: %v", name, err)
		}
	}
}

func TestTagRules(t *testing.T) {
	for name, tc := range map[string]struct {
		tags map[string]string
		ok   bool
	}{
		"none":           {nil, true},
		"letters":        {map[string]string{"Équipe": "größe 1/2"}, true},
		"empty key":      {map[string]string{"": "v"}, false},
		"long key":       {map[string]string{strings.Repeat("k", 129): ""}, false},
		"long value":     {map[string]string{"k": strings.Repeat("v", 257)}, false},
		"bad characters": {map[string]string{"k": "a\tb"}, false},
	} {
		var vs Violations
		vs.tags(tc.tags)
		if (len(vs) == 0) != tc.ok {
			t.Errorf("%s: %v", name, vs)
		}
	}
}

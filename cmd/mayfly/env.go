package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) envCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the export lines that point the AWS CLI and SDKs at the node",
		Long: `Print the export lines that point the AWS CLI and SDKs at the running node:

  eval "$(mayfly env)"
  aws lambda list-functions

The Debian package of the AWS CLI (2.9) is older than AWS_ENDPOINT_URL: give it
--endpoint-url "$AWS_ENDPOINT_URL".`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.printEnv() },
	}
}

func (c *cli) printEnv() error {
	t, err := readTarget(c.directory())
	if err != nil && c.endpoint != "" && errors.As(err, new(notStarted)) {
		t, err = c.locate()
	}
	if err != nil {
		return err
	}
	if c.endpoint != "" {
		t.endpoint = c.endpoint
	}
	vars := []struct{ name, value string }{
		{"AWS_ACCESS_KEY_ID", t.keyID},
		{"AWS_SECRET_ACCESS_KEY", t.secret},
		{"AWS_REGION", t.region},
		{"AWS_DEFAULT_REGION", t.region},
		{"AWS_ENDPOINT_URL", t.endpoint},
	}
	if c.json {
		m := map[string]string{}
		for _, v := range vars {
			m[v.name] = v.value
		}
		return c.printJSON(m)
	}
	for _, v := range vars {
		fmt.Fprintf(c.out, "export %s=%s\n", v.name, shellQuote(v.value))
	}
	// A session token left from another account would spoil every signature.
	fmt.Fprintln(c.out, "unset AWS_SESSION_TOKEN")
	return nil
}

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string {
	plain := s != ""
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,=", r) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

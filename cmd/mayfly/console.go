package main

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/access"
)

// consolePath is where a node serves its console.
const consolePath = "/console/"

func (c *cli) consoleCommand() *cobra.Command {
	var open bool
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Print a link that signs in to the web console",
		Long: `Print a link that signs in to the node's web console.

The link works once, for two minutes. Who has it can do all that you can: don't
send it to others.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := c.locate()
			if err != nil {
				return err
			}
			token := access.NewLink(access.Key{ID: t.keyID, Secret: t.secret}, time.Now())
			link := t.endpoint + consolePath + "link?" + url.Values{"token": {token}}.Encode()
			if open {
				if err := exec.CommandContext(cmd.Context(), "xdg-open", link).Run(); err != nil {
					return errors.Join(fmt.Errorf("no browser could be opened; the link is\n%s", link), err)
				}
			}
			_, err = lipgloss.Fprintln(c.out, link)
			return err
		},
	}
	cmd.Flags().BoolVar(&open, "open", false, "open it in the browser")
	return cmd
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"
)

// functionLine is a function as ls shows it.
type functionLine struct {
	Name      string `json:"name"`
	Runtime   string `json:"runtime"`
	Handler   string `json:"handler"`
	MemoryMB  int32  `json:"memoryMB"`
	TimeoutS  int32  `json:"timeoutSeconds"`
	CodeBytes int64  `json:"codeBytes"`
	Modified  string `json:"modified"`
	Instances int    `json:"instances"`

	Aliases []aliasLine `json:"aliases,omitempty"`
}

func (c *cli) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the functions",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			lines, err := cl.list(cmd.Context())
			if err != nil {
				return err
			}
			for i := range lines {
				if lines[i].Aliases, err = cl.aliases(cmd.Context(), lines[i].Name); err != nil {
					return err
				}
			}
			if c.json {
				return c.printJSON(lines)
			}
			c.printFunctions(lines)
			return nil
		},
	}
}

func (cl *client) list(ctx context.Context) ([]functionLine, error) {
	status, err := cl.node(ctx)
	if err != nil {
		return nil, err
	}
	running := map[string]int{}
	for _, i := range status.Instances {
		running[i.Function]++
	}
	lines := []functionLine{}
	pages := lambda.NewListFunctionsPaginator(cl, &lambda.ListFunctionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range page.Functions {
			name := aws.ToString(f.FunctionName)
			lines = append(lines, functionLine{
				Name: name, Runtime: string(f.Runtime), Handler: aws.ToString(f.Handler),
				MemoryMB: aws.ToInt32(f.MemorySize), TimeoutS: aws.ToInt32(f.Timeout), CodeBytes: f.CodeSize,
				Modified: aws.ToString(f.LastModified), Instances: running[name],
			})
		}
	}
	return lines, nil
}

func (c *cli) printFunctions(lines []functionLine) {
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "No functions yet. Make one of a directory: mayfly deploy DIR")
		return
	}
	columns := []column{
		left("NAME"), left("RUNTIME"), left("HANDLER"), right("MEMORY"), right("TIMEOUT"), right("CODE"), right("INSTANCES"), left("CHANGED"),
	}
	released := slices.ContainsFunc(lines, func(l functionLine) bool { return len(l.Aliases) > 0 })
	if released {
		columns = append(columns, left("ALIASES"))
	}
	var rows [][]string
	for _, l := range lines {
		row := []string{
			strong.Render(l.Name), l.Runtime, l.Handler, fmt.Sprintf("%d MB", l.MemoryMB), fmt.Sprintf("%d s", l.TimeoutS),
			bytesText(l.CodeBytes), fmt.Sprint(l.Instances), modifiedText(l.Modified),
		}
		if released {
			row = append(row, aliasesText(l.Aliases))
		}
		rows = append(rows, row)
	}
	lipgloss.Fprintln(c.out, grid(columns, rows, false))
}

// aliasesText lists what aliases stand for: "live → 2 (90%), 3 (10%)".
func aliasesText(list []aliasLine) string {
	var words []string
	for _, a := range list {
		words = append(words, a.Name+" → "+a.split.String())
	}
	return strings.Join(words, "; ")
}

// modifiedText makes Lambda's time stamp readable.
func modifiedText(s string) string {
	t, err := time.Parse("2006-01-02T15:04:05.000-0700", s)
	if err != nil {
		return s
	}
	return agoText(t)
}

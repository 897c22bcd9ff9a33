package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"
)

// description is all that describe tells.
type description struct {
	functionLine
	ARN         string            `json:"arn"`
	State       string            `json:"state"`
	Description string            `json:"description,omitempty"`
	Arch        string            `json:"architecture"`
	StorageMB   int32             `json:"storageMB"`
	CodeSHA256  string            `json:"codeSha256"`
	Env         map[string]string `json:"env,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	StateReason string            `json:"stateReason,omitempty"`
	Update      string            `json:"lastUpdate"`
	ServedBy    string            `json:"servedBy,omitempty"`
	Warning     string            `json:"warning,omitempty"`
	Running     []instance        `json:"running"`
	Versions    []versionLine     `json:"versions"`
	Capacity    concurrency       `json:"concurrency"`
}

func (c *cli) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a function's configuration and its instances",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			d, err := cl.describe(cmd, args[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(d)
			}
			c.printDescription(d)
			return nil
		},
	}
}

func (cl *client) describe(cmd *cobra.Command, name string) (d description, err error) {
	ctx := cmd.Context()
	got, err := cl.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
	if err != nil {
		return d, err
	}
	f := got.Configuration
	var status struct {
		RuntimeResolved string     `json:"runtimeResolved"`
		RuntimeWarning  string     `json:"runtimeWarning"`
		Instances       []instance `json:"instances"`
	}
	if err := cl.getJSON(ctx, "functions/"+aws.ToString(f.FunctionName)+"/status", nil, &status); err != nil {
		return d, err
	}
	d = description{
		functionLine: functionLine{
			Name: aws.ToString(f.FunctionName), Runtime: string(f.Runtime), Handler: aws.ToString(f.Handler),
			MemoryMB: aws.ToInt32(f.MemorySize), TimeoutS: aws.ToInt32(f.Timeout), CodeBytes: f.CodeSize,
			Modified: aws.ToString(f.LastModified), Instances: len(status.Instances),
		},
		ARN: aws.ToString(f.FunctionArn), State: string(f.State), Description: aws.ToString(f.Description), CodeSHA256: aws.ToString(f.CodeSha256),
		Tags: got.Tags, StateReason: aws.ToString(f.StateReason), Update: string(f.LastUpdateStatus),
		ServedBy: status.RuntimeResolved, Warning: status.RuntimeWarning, Running: status.Instances,
	}
	if len(f.Architectures) > 0 {
		d.Arch = string(f.Architectures[0])
	}
	if f.EphemeralStorage != nil {
		d.StorageMB = aws.ToInt32(f.EphemeralStorage.Size)
	}
	if f.Environment != nil {
		d.Env = f.Environment.Variables
	}
	if d.Versions, err = cl.versions(ctx, d.Name); err != nil {
		return d, err
	}
	if d.Aliases, err = cl.aliases(ctx, d.Name); err != nil {
		return d, err
	}
	d.Capacity, err = cl.concurrency(ctx, d.Name)
	return d, err
}

func (c *cli) printDescription(d description) {
	runtime := d.Runtime
	switch {
	case strings.HasPrefix(d.ServedBy, d.Runtime):
		runtime = d.ServedBy // with its exact version
	case d.ServedBy != "":
		runtime += ", served by " + d.ServedBy
	}
	state := d.State
	if d.StateReason != "" {
		state += ": " + d.StateReason
	}
	if d.Update != "" && d.Update != "Successful" {
		state += ", last update " + d.Update
	}
	for _, row := range [][2]string{
		{"name", strong.Render(d.Name)},
		{"description", d.Description},
		{"arn", d.ARN},
		{"state", state},
		{"runtime", runtime},
		{"handler", d.Handler},
		{"architecture", d.Arch},
		{"memory", fmt.Sprintf("%d MB", d.MemoryMB)},
		{"timeout", fmt.Sprintf("%d s", d.TimeoutS)},
		{"storage", fmt.Sprintf("%d MB in /tmp", d.StorageMB)},
		{"code", fmt.Sprintf("%s, sha256 %s", bytesText(d.CodeBytes), d.CodeSHA256)},
		{"changed", modifiedText(d.Modified)},
		{"environment", pairs(d.Env)},
		{"tags", pairs(d.Tags)},
		{"reserved", reservedText(d.Capacity.Reserved)},
	} {
		if row[1] != "" {
			lipgloss.Fprintln(c.out, faint.Render(fmt.Sprintf("%-13s", row[0])), row[1])
		}
	}
	if d.Warning != "" {
		c.warnf("%s", d.Warning)
	}
	c.printVersions(d)
	if len(d.Running) == 0 {
		if len(d.Versions) > 0 {
			fmt.Fprintln(c.out)
		}
		lipgloss.Fprintln(c.out, faint.Render("instances    "), "none, the next call starts one")
		return
	}
	fmt.Fprintln(c.out)
	var rows [][]string
	for _, i := range d.Running {
		if i.Provisioned {
			i.State += ", provisioned"
		}
		rows = append(rows, []string{i.ID, i.Version, i.State, time.Since(i.Since).Round(time.Second).String(), bytesText(i.MemoryBytes)})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("INSTANCE"), left("VERSION"), left("STATE"), right("FOR"), right("MEMORY")}, rows, false))
}

// reservedText is empty if nothing is reserved.
func reservedText(calls *int32) string {
	if calls == nil {
		return ""
	}
	return numbered(int(*calls), "call") + " at one time"
}

// printVersions shows the published versions with their aliases, newest first.
func (c *cli) printVersions(d description) {
	if len(d.Versions) == 0 {
		return
	}
	fmt.Fprintln(c.out)
	provisioned := map[string]string{}
	for _, p := range d.Capacity.Provisioned {
		provisioned[p.Qualifier] = fmt.Sprintf("%d of %d ready", p.Ready, p.Wanted)
	}
	var rows [][]string
	for _, v := range slices.Backward(d.Versions) {
		rows = append(rows, []string{v.Version, modifiedText(v.Published), bytesText(v.CodeBytes), shortHash(v.CodeSHA256), provisioned[v.Version], v.Description})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("VERSION"), left("PUBLISHED"), right("CODE"), left(""), left("PROVISIONED"), left("DESCRIPTION")}, rows, false))
	if len(d.Aliases) == 0 {
		return
	}
	fmt.Fprintln(c.out)
	rows = nil
	for _, a := range d.Aliases {
		rows = append(rows, []string{a.Name, a.split.String(), provisioned[a.Name], a.Description})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("ALIAS"), left("VERSION"), left("PROVISIONED"), left("DESCRIPTION")}, rows, false))
}

func pairs(m map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return strings.Join(list, "\n"+strings.Repeat(" ", 14))
}

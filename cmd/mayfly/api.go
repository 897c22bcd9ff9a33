package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

// apiService is what requests about HTTP APIs are signed for.
const apiService = "apigateway"

// httpAPI is an HTTP API as the node tells of it.
type httpAPI struct {
	ID       string `json:"apiId"`
	Name     string `json:"name"`
	Endpoint string `json:"apiEndpoint"`
}

type httpRoute struct {
	ID     string `json:"routeId,omitempty"`
	Key    string `json:"routeKey"`
	Target string `json:"target,omitempty"`
	Auth   string `json:"authorizationType,omitempty"`
}

type httpIntegration struct {
	ID      string `json:"integrationId,omitempty"`
	Type    string `json:"integrationType,omitempty"`
	URI     string `json:"integrationUri,omitempty"`
	Method  string `json:"integrationMethod,omitempty"`
	Payload string `json:"payloadFormatVersion,omitempty"`
}

// routeLine is a route as the command shows it.
type routeLine struct {
	Key  string `json:"route"`
	To   string `json:"to"`
	Auth string `json:"auth"`
}

func (c *cli) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "HTTP APIs: several functions behind one endpoint, by route",
		Example: `  mayfly api create shop
  mayfly api add-route shop 'GET /pets/{id}' pets
  mayfly api add-route shop 'ANY /legacy/{proxy+}' https://old.example.com/{proxy}
  mayfly api routes shop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		c.apiSubcommand("ls", "List the HTTP APIs", cobra.NoArgs, c.listAPIs),
		c.apiSubcommand("create NAME [FUNCTION]", "Make an HTTP API; with a function it takes all requests", cobra.RangeArgs(1, 2), c.createAPI),
		c.apiSubcommand("routes API", "Show the routes of an API", cobra.ExactArgs(1), c.showRoutes),
		c.apiSubcommand("add-route API ROUTE TARGET", "Lead a route, such as 'GET /pets/{id}', to a function or a URL", cobra.ExactArgs(3), c.addRoute),
		c.apiSubcommand("rm-route API ROUTE", "Remove a route", cobra.ExactArgs(2), c.removeRoute),
		c.apiSubcommand("rm API", "Delete an API", cobra.ExactArgs(1), c.removeAPI),
	)
	return cmd
}

func (c *cli) apiSubcommand(use, short string, args cobra.PositionalArgs, run func(context.Context, *client, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return run(cmd.Context(), cl, args)
	}}
}

// gateway calls an operation of the API for HTTP APIs, by its path.
func (cl *client) gateway(ctx context.Context, method, path string, in, out any) error {
	return cl.api.REST(ctx, apiService, method, "/v2/"+path, nil, in, out)
}

// items calls an operation that lists, page by page.
func items[T any](ctx context.Context, cl *client, path string) ([]T, error) {
	return api.Items[T](ctx, cl.api, "/v2/"+path)
}

// findAPI finds an API by its id or its name.
func (cl *client) findAPI(ctx context.Context, name string) (httpAPI, error) {
	all, err := items[httpAPI](ctx, cl, "apis")
	if err != nil {
		return httpAPI{}, err
	}
	var found []httpAPI
	for _, a := range all {
		if a.ID == name {
			return a, nil
		}
		if a.Name == name {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return httpAPI{}, fmt.Errorf("there is no API %s; `mayfly api ls` lists them, `mayfly api create %s` makes one", name, name)
	case 1:
		return found[0], nil
	}
	return httpAPI{}, fmt.Errorf("%d APIs are called %s: name one by its id, from `mayfly api ls`", len(found), name)
}

func (c *cli) listAPIs(ctx context.Context, cl *client, _ []string) error {
	all, err := items[httpAPI](ctx, cl, "apis")
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b httpAPI) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	if c.json {
		return c.printJSON(append([]httpAPI{}, all...))
	}
	if len(all) == 0 {
		fmt.Fprintln(c.err, "No APIs yet. Make one: mayfly api create NAME")
		return nil
	}
	var rows [][]string
	for _, a := range all {
		rows = append(rows, []string{strong.Render(a.Name), a.ID, a.Endpoint})
	}
	_, err = lipgloss.Fprintln(c.out, grid([]column{left("NAME"), left("ID"), left("ENDPOINT")}, rows, false))
	return err
}

func (c *cli) createAPI(ctx context.Context, cl *client, args []string) error {
	in := map[string]any{"name": args[0], "protocolType": "HTTP"}
	if len(args) == 2 {
		target, err := cl.functionARN(ctx, args[1])
		if err != nil {
			return err
		}
		in["target"] = target
	}
	var a httpAPI
	if err := cl.gateway(ctx, http.MethodPost, "apis", in, &a); err != nil {
		return err
	}
	if len(args) == 1 { // with a function it has a stage already
		stage := map[string]any{"stageName": "$default", "autoDeploy": true}
		if err := cl.gateway(ctx, http.MethodPost, "apis/"+a.ID+"/stages", stage, nil); err != nil {
			return err
		}
	}
	if c.json {
		return c.printJSON(a)
	}
	_, err := lipgloss.Fprintln(c.out, good.Render("✓"), strong.Render(a.Name), a.Endpoint)
	return err
}

// functionARN returns the identifier of a function, or of an alias NAME:ALIAS.
func (cl *client) functionARN(ctx context.Context, name string) (string, error) {
	f, err := cl.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if err != nil {
		return "", err
	}
	return aws.ToString(f.FunctionArn), nil
}

func (c *cli) addRoute(ctx context.Context, cl *client, args []string) error {
	a, err := cl.findAPI(ctx, args[0])
	if err != nil {
		return err
	}
	in := httpIntegration{Type: "HTTP_PROXY", URI: args[2], Method: "ANY", Payload: "1.0"}
	if !strings.HasPrefix(args[2], "http://") && !strings.HasPrefix(args[2], "https://") {
		in = httpIntegration{Type: "AWS_PROXY", Payload: "2.0"}
		if in.URI, err = cl.functionARN(ctx, args[2]); err != nil {
			return err
		}
	}
	var made httpIntegration
	if err := cl.gateway(ctx, http.MethodPost, "apis/"+a.ID+"/integrations", in, &made); err != nil {
		return err
	}
	route := httpRoute{Key: args[1], Target: "integrations/" + made.ID}
	if err := cl.gateway(ctx, http.MethodPost, "apis/"+a.ID+"/routes", route, &route); err != nil {
		return errors.Join(err, cl.gateway(ctx, http.MethodDelete, "apis/"+a.ID+"/integrations/"+made.ID, nil, nil))
	}
	return c.showRoutes(ctx, cl, []string{a.ID})
}

func (c *cli) showRoutes(ctx context.Context, cl *client, args []string) error {
	a, err := cl.findAPI(ctx, args[0])
	if err != nil {
		return err
	}
	routes, err := items[httpRoute](ctx, cl, "apis/"+a.ID+"/routes")
	if err != nil {
		return err
	}
	integrations, err := items[httpIntegration](ctx, cl, "apis/"+a.ID+"/integrations")
	if err != nil {
		return err
	}
	lines := []routeLine{}
	for _, r := range routes {
		l := routeLine{Key: r.Key, Auth: r.Auth}
		for _, i := range integrations {
			if r.Target == "integrations/"+i.ID {
				l.To = targetText(i.URI)
			}
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b routeLine) int {
		return cmp.Or(cmp.Compare(pathOf(a.Key), pathOf(b.Key)), cmp.Compare(a.Key, b.Key))
	})
	if c.json {
		return c.printJSON(lines)
	}
	lipgloss.Fprintln(c.out, strong.Render(a.Name), a.Endpoint)
	if len(lines) == 0 {
		fmt.Fprintf(c.err, "No routes yet. Add one: mayfly api add-route %s 'GET /path/{variable}' FUNCTION\n", a.Name)
		return nil
	}
	var rows [][]string
	for _, l := range lines {
		method, path, ok := strings.Cut(l.Key, " ")
		if !ok {
			method, path = "", l.Key
		}
		rows = append(rows, []string{strong.Render(method), path, l.To, strings.ToLower(l.Auth)})
	}
	_, err = lipgloss.Fprintln(c.out, grid([]column{left("METHOD"), left("PATH"), left("TO"), left("AUTH")}, rows, false))
	return err
}

// pathOf orders routes by their path; the one for all others comes last.
func pathOf(key string) string {
	if _, path, ok := strings.Cut(key, " "); ok {
		return path
	}
	return "\x7f" + key
}

// targetText shortens the identifier of a function to its name.
func targetText(uri string) string {
	if _, name, ok := strings.Cut(uri, ":function:"); ok {
		return strings.TrimSuffix(name, "/invocations")
	}
	return uri
}

func (c *cli) removeRoute(ctx context.Context, cl *client, args []string) error {
	a, err := cl.findAPI(ctx, args[0])
	if err != nil {
		return err
	}
	routes, err := items[httpRoute](ctx, cl, "apis/"+a.ID+"/routes")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(routes, func(r httpRoute) bool { return r.Key == args[1] })
	if i < 0 {
		return fmt.Errorf("%s has no route %q; `mayfly api routes %s` lists them", a.Name, args[1], a.Name)
	}
	if err := cl.gateway(ctx, http.MethodDelete, "apis/"+a.ID+"/routes/"+routes[i].ID, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.err, "removed", args[1])
	return nil
}

func (c *cli) removeAPI(ctx context.Context, cl *client, args []string) error {
	a, err := cl.findAPI(ctx, args[0])
	if err != nil {
		return err
	}
	if err := cl.gateway(ctx, http.MethodDelete, "apis/"+a.ID, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.err, "removed", a.Name)
	return nil
}

package console

import (
	"net/url"

	"github.com/mayfly-dev/mayfly/internal/client"
)

func (c *Console) httpRoutes() map[string]action {
	return map[string]action{"http": (*call).httpPage}
}

// httpAPI is an HTTP API with its routes.
type httpAPI struct {
	ApiId       string `json:"apiId"`
	Name        string `json:"name"`
	ApiEndpoint string `json:"apiEndpoint"`
	Routes      []httpRoute
}

type httpRoute struct {
	RouteKey          string `json:"routeKey"`
	Target            string `json:"target"`
	AuthorizationType string `json:"authorizationType"`
	Wakes             string
}

type httpView struct {
	URLs []functionURL
	APIs []httpAPI
}

// Function is the function that an endpoint calls.
func (u functionURL) Function() string { return functionOf(u.FunctionArn) }

func (k *call) httpPage() error {
	var v httpView
	names, err := k.functionNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		urls, err := k.functionURLs(name)
		if err != nil {
			return err
		}
		v.URLs = append(v.URLs, urls...)
	}
	if v.APIs, err = k.apis(); err != nil {
		return err
	}
	return k.show("http", "HTTP", v)
}

func (k *call) apis() ([]httpAPI, error) {
	all, err := client.Items[httpAPI](k.ctx(), k.api, "/v2/apis")
	if err != nil {
		return nil, err
	}
	for i := range all {
		a := &all[i]
		path := "/v2/apis/" + url.PathEscape(a.ApiId)
		routes, err := client.Items[httpRoute](k.ctx(), k.api, path+"/routes")
		if err != nil {
			return nil, err
		}
		integrations, err := client.Items[struct {
			IntegrationId  string `json:"integrationId"`
			IntegrationUri string `json:"integrationUri"`
		}](k.ctx(), k.api, path+"/integrations")
		if err != nil {
			return nil, err
		}
		uri := map[string]string{}
		for _, n := range integrations {
			uri["integrations/"+n.IntegrationId] = n.IntegrationUri
		}
		for _, r := range routes {
			r.Wakes = functionOf(uri[r.Target])
			a.Routes = append(a.Routes, r)
		}
	}
	return all, nil
}

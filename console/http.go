package console

import (
	"net/http"
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
	var answer struct {
		Items []httpAPI `json:"items"`
	}
	if err := k.api.REST(k.ctx(), client.APIs, http.MethodGet, "/v2/apis", nil, nil, &answer); err != nil {
		return nil, err
	}
	for i := range answer.Items {
		a := &answer.Items[i]
		var routes struct {
			Items []httpRoute `json:"items"`
		}
		path := "/v2/apis/" + url.PathEscape(a.ApiId)
		if err := k.api.REST(k.ctx(), client.APIs, http.MethodGet, path+"/routes", nil, nil, &routes); err != nil {
			return nil, err
		}
		var integrations struct {
			Items []struct {
				IntegrationId  string `json:"integrationId"`
				IntegrationUri string `json:"integrationUri"`
			} `json:"items"`
		}
		if err := k.api.REST(k.ctx(), client.APIs, http.MethodGet, path+"/integrations", nil, nil, &integrations); err != nil {
			return nil, err
		}
		uri := map[string]string{}
		for _, n := range integrations.Items {
			uri["integrations/"+n.IntegrationId] = n.IntegrationUri
		}
		for _, r := range routes.Items {
			r.Wakes = functionOf(uri[r.Target])
			a.Routes = append(a.Routes, r)
		}
	}
	return answer.Items, nil
}

package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

type alias struct {
	Name            string
	FunctionVersion string
	Description     string
	RoutingConfig   struct{ AdditionalVersionWeights map[string]float64 }
}

type versionsView struct {
	Versions    []configuration
	Aliases     []alias
	Provisioned []provisioned
}

// provisioned is concurrency that is kept ready.
type provisioned struct {
	FunctionArn                              string
	Status                                   string
	StatusReason                             string
	RequestedProvisionedConcurrentExecutions int
	AllocatedProvisionedConcurrentExecutions int
}

// Qualifier is the alias or version that it is kept for.
func (p provisioned) Qualifier() string {
	return p.FunctionArn[strings.LastIndexByte(p.FunctionArn, ':')+1:]
}

// list calls a paged operation of Lambda's API until its last page; add takes
// each page and returns the marker of the next.
func (k *call) list(path string, q url.Values, out any, next func() string) error {
	for {
		if err := k.api.REST(k.ctx(), client.Functions, http.MethodGet, path, q, nil, out); err != nil {
			return err
		}
		marker := next()
		if marker == "" {
			return nil
		}
		if q == nil {
			q = url.Values{}
		}
		q.Set("Marker", marker)
	}
}

func (k *call) versionsPage() error {
	name := k.r.PathValue("name")
	var v versionsView
	var versions struct {
		Versions   []configuration
		NextMarker string
	}
	err := k.list(functionPath(name, "/versions"), nil, &versions, func() string {
		v.Versions = append(v.Versions, versions.Versions...)
		marker := versions.NextMarker
		versions.Versions, versions.NextMarker = nil, ""
		return marker
	})
	if err != nil {
		return err
	}
	var aliases struct {
		Aliases    []alias
		NextMarker string
	}
	err = k.list(functionPath(name, "/aliases"), nil, &aliases, func() string {
		v.Aliases = append(v.Aliases, aliases.Aliases...)
		marker := aliases.NextMarker
		aliases.Aliases, aliases.NextMarker = nil, ""
		return marker
	})
	if err != nil {
		return err
	}
	var ready struct{ ProvisionedConcurrencyConfigs []provisioned }
	path := "/2019-09-30/functions/" + url.PathEscape(name) + "/provisioned-concurrency"
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodGet, path, url.Values{"List": {"ALL"}}, nil, &ready); err != nil {
		return err
	}
	v.Provisioned = ready.ProvisionedConcurrencyConfigs
	return k.showTab("versions", v)
}

func (k *call) publish() error {
	name := k.r.PathValue("name")
	in := map[string]any{"Description": k.r.FormValue("description")}
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodPost, functionPath(name, "/versions"), nil, in, nil); err != nil {
		return err
	}
	return k.goTo("functions/" + name + "/versions")
}

// setAlias makes an alias or points it elsewhere.
func (k *call) setAlias() error {
	name, to := k.r.PathValue("name"), strings.TrimSpace(k.r.FormValue("alias"))
	weights := map[string]float64{}
	if second := k.r.FormValue("second"); second != "" {
		share, err := strconv.ParseFloat(k.r.FormValue("share"), 64)
		if err != nil || share < 0 || share > 100 {
			return errs.Newf(errs.Invalid, "The share of the second version is a percentage from 0 to 100.")
		}
		weights[second] = share / 100
	}
	in := map[string]any{
		"Name": to, "FunctionVersion": k.r.FormValue("version"),
		"RoutingConfig": map[string]any{"AdditionalVersionWeights": weights},
	}
	err := k.api.REST(k.ctx(), client.Functions, http.MethodPut, functionPath(name, "/aliases/", url.PathEscape(to)), nil, in, nil)
	if isNotFound(err) {
		err = k.api.REST(k.ctx(), client.Functions, http.MethodPost, functionPath(name, "/aliases"), nil, in, nil)
	}
	if err != nil {
		return err
	}
	return k.goTo("functions/" + name + "/versions")
}

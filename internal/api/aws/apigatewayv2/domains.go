package apigatewayv2

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// domain is all that is kept of a domain name. Its JSON form is what is on disk.
type domain struct {
	Domain   DomainName
	Mappings map[string]*ApiMapping
}

var (
	domainForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	mappingKeyForm = regexp.MustCompile(`^[a-zA-Z0-9_.~!$&'()*+,;=:@-]+(/[a-zA-Z0-9_.~!$&'()*+,;=:@-]+)*$`)
)

// compile returns the domain as it is served.
func (dom *domain) compile() *httpapi.Domain {
	served := &httpapi.Domain{Name: wire.Value(dom.Domain.DomainName)}
	for _, m := range dom.Mappings {
		served.Mappings = append(served.Mappings, httpapi.Mapping{Key: wire.Value(m.ApiMappingKey), API: wire.Value(m.ApiId), Stage: wire.Value(m.Stage)})
	}
	slices.SortFunc(served.Mappings, func(a, b httpapi.Mapping) int { return cmp.Compare(len(b.Key), len(a.Key)) })
	return served
}

// CreateDomainName serves APIs under a domain name of their own.
func (d *Door) CreateDomainName(ctx context.Context, in *CreateDomainNameInput) (*CreateDomainNameOutput, error) {
	name := strings.ToLower(wire.Value(in.DomainName))
	switch {
	case !domainForm.MatchString(name) || len(name) > 253:
		return nil, bad("Invalid domain name %q: it must be a whole name, such as shop.example.com, without a wildcard", wire.Value(in.DomainName))
	case name == d.o.Domain || strings.HasSuffix(name, "."+d.o.Domain):
		return nil, bad("Invalid domain name %q: names under %s are the node's own", name, d.o.Domain)
	case in.MutualTlsAuthentication != nil:
		return nil, unsupported(map[string]bool{"MutualTlsAuthentication": true})
	}
	dom := &domain{Mappings: map[string]*ApiMapping{}}
	merge(&dom.Domain, in)
	dom.Domain.DomainName, dom.Domain.DomainNameArn = &name, new(d.arn("/domainnames/"+name))
	dom.Domain.ApiMappingSelectionExpression = new("$request.basepath")
	d.complete(dom)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.domains.Create(ctx, name, dom); err != nil {
		if errs.Is(err, errs.Conflict) {
			return nil, wire.Errorf(CodeConflict, "The domain name you provided already exists.")
		}
		return nil, fail(err)
	}
	d.o.Server.SetDomain(dom.compile())
	return (*CreateDomainNameOutput)(&dom.Domain), nil
}

// complete fills in what the node says about a domain name's configuration: where
// DNS is to point.
func (d *Door) complete(dom *domain) {
	if len(dom.Domain.DomainNameConfigurations) == 0 {
		dom.Domain.DomainNameConfigurations = []DomainNameConfiguration{{EndpointType: EndpointTypeRegional}}
	}
	for i := range dom.Domain.DomainNameConfigurations {
		c := &dom.Domain.DomainNameConfigurations[i]
		c.ApiGatewayDomainName, c.DomainNameStatus = new(d.o.Domain), DomainNameStatusAvailable
	}
}

// domain returns what is kept of a domain name.
func (d *Door) domain(name *string) (*domain, error) {
	dom, err := d.domains.Get(strings.ToLower(wire.Value(name)))
	if err != nil {
		return nil, noDomain()
	}
	return dom, nil
}

func noDomain() error { return wire.Errorf(CodeNotFound, "Invalid domain name identifier specified") }

// GetDomainName shows a domain name.
func (d *Door) GetDomainName(_ context.Context, in *GetDomainNameInput) (*GetDomainNameOutput, error) {
	dom, err := d.domain(in.DomainName)
	if err != nil {
		return nil, err
	}
	return (*GetDomainNameOutput)(&dom.Domain), nil
}

// GetDomainNames lists the domain names.
func (d *Door) GetDomainNames(_ context.Context, in *GetDomainNamesInput) (*GetDomainNamesOutput, error) {
	all := map[string]*DomainName{}
	for _, dom := range d.domains.All() {
		all[wire.Value(dom.Domain.DomainName)] = &dom.Domain
	}
	items, next, err := listed(all, in.MaxResults, in.NextToken)
	return &GetDomainNamesOutput{Items: items, NextToken: next}, err
}

// UpdateDomainName changes what the request names of a domain name.
func (d *Door) UpdateDomainName(ctx context.Context, in *UpdateDomainNameInput) (*UpdateDomainNameOutput, error) {
	if in.MutualTlsAuthentication != nil {
		return nil, unsupported(map[string]bool{"MutualTlsAuthentication": true})
	}
	name := strings.ToLower(wire.Value(in.DomainName))
	dom, err := d.changeDomain(ctx, &name, func(dom *domain) error {
		merge(&dom.Domain, in)
		dom.Domain.DomainName = &name
		d.complete(dom)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateDomainNameOutput)(&dom.Domain), nil
}

func (d *Door) changeDomain(ctx context.Context, name *string, edit func(*domain) error) (*domain, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.domain(name); err != nil {
		return nil, err
	}
	dom, err := d.domains.Change(ctx, strings.ToLower(wire.Value(name)), edit)
	if err != nil {
		return nil, fail(err)
	}
	d.o.Server.SetDomain(dom.compile())
	return dom, nil
}

// DeleteDomainName removes a domain name with its mappings.
func (d *Door) DeleteDomainName(ctx context.Context, in *DeleteDomainNameInput) (*DeleteDomainNameOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.ToLower(wire.Value(in.DomainName))
	if _, err := d.domain(&name); err != nil {
		return nil, err
	}
	if err := d.domains.Delete(ctx, name); err != nil {
		return nil, fail(err)
	}
	d.o.Server.RemoveDomain(name)
	return &DeleteDomainNameOutput{}, nil
}

// checkMapping refuses a mapping that can't be.
func (d *Door) checkMapping(dom *domain, m *ApiMapping) error {
	if err := required(param{"ApiId", m.ApiId}, param{"Stage", m.Stage}); err != nil {
		return err
	}
	if key := wire.Value(m.ApiMappingKey); key != "" && !mappingKeyForm.MatchString(key) {
		return bad("Invalid ApiMappingKey %q: it is a path without slashes at its ends", key)
	}
	doc, err := d.get(m.ApiId)
	if err != nil {
		return err
	}
	if doc.Stages[*m.Stage] == nil {
		return noStage(m.Stage)
	}
	for _, o := range dom.Mappings {
		if wire.Value(o.ApiMappingKey) == wire.Value(m.ApiMappingKey) && wire.Value(o.ApiMappingId) != wire.Value(m.ApiMappingId) {
			return wire.Errorf(CodeConflict, "ApiMapping key already exists for this domain name")
		}
	}
	return nil
}

// CreateApiMapping leads paths of a domain name to a stage.
func (d *Door) CreateApiMapping(ctx context.Context, in *CreateApiMappingInput) (*CreateApiMappingOutput, error) {
	m := &ApiMapping{ApiMappingId: newID(), ApiMappingKey: new("")}
	merge(m, in)
	_, err := d.changeDomain(ctx, in.DomainName, func(dom *domain) error {
		dom.Mappings[*m.ApiMappingId] = m
		return d.checkMapping(dom, m)
	})
	return (*CreateApiMappingOutput)(m), err
}

func noMapping() error {
	return wire.Errorf(CodeNotFound, "Invalid ApiMapping identifier specified")
}

// GetApiMapping shows a mapping.
func (d *Door) GetApiMapping(_ context.Context, in *GetApiMappingInput) (*GetApiMappingOutput, error) {
	dom, err := d.domain(in.DomainName)
	if err != nil {
		return nil, err
	}
	m := dom.Mappings[wire.Value(in.ApiMappingId)]
	if m == nil {
		return nil, noMapping()
	}
	return (*GetApiMappingOutput)(m), nil
}

// GetApiMappings lists the mappings of a domain name.
func (d *Door) GetApiMappings(_ context.Context, in *GetApiMappingsInput) (*GetApiMappingsOutput, error) {
	dom, err := d.domain(in.DomainName)
	if err != nil {
		return nil, err
	}
	items, next, err := listed(dom.Mappings, in.MaxResults, in.NextToken)
	return &GetApiMappingsOutput{Items: items, NextToken: next}, err
}

// UpdateApiMapping changes what the request names of a mapping.
func (d *Door) UpdateApiMapping(ctx context.Context, in *UpdateApiMappingInput) (*UpdateApiMappingOutput, error) {
	dom, err := d.changeDomain(ctx, in.DomainName, func(dom *domain) error {
		m := dom.Mappings[wire.Value(in.ApiMappingId)]
		if m == nil {
			return noMapping()
		}
		merge(m, in)
		return d.checkMapping(dom, m)
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateApiMappingOutput)(dom.Mappings[*in.ApiMappingId]), nil
}

// DeleteApiMapping removes a mapping.
func (d *Door) DeleteApiMapping(ctx context.Context, in *DeleteApiMappingInput) (*DeleteApiMappingOutput, error) {
	_, err := d.changeDomain(ctx, in.DomainName, func(dom *domain) error {
		if dom.Mappings[wire.Value(in.ApiMappingId)] == nil {
			return noMapping()
		}
		delete(dom.Mappings, *in.ApiMappingId)
		return nil
	})
	return &DeleteApiMappingOutput{}, err
}

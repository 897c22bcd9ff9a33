package lambda

import (
	"context"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// urlQualifierPattern is the model's: a URL belongs to an alias or to the
// function itself, never to a numbered version.
const urlQualifierPattern = `((?!^\d+$)^[0-9a-zA-Z-_]+$)`

var number = regexp.MustCompile(`^\d+$`)

// maxURLAge is the longest that a browser may be told to keep a preflight's
// answer, in seconds.
const maxURLAge = 86400

// urlTime is how Lambda writes the times of URL configurations.
const urlTime = "2006-01-02T15:04:05.000Z"

// urlTarget reads the function or alias that a request about a URL names.
func (d *Door) urlTarget(name, qualifier *string) (target, error) {
	t, err := d.target(name, qualifier)
	if err != nil {
		return t, err
	}
	if t.qualifier == function.Latest || number.MatchString(t.qualifier) {
		var c constraints
		c.pattern("qualifier", t.qualifier, urlQualifierPattern)
		return t, c.err()
	}
	if _, err := d.o.Functions.Get(t.name, t.qualifier); err != nil {
		return t, d.fail(t, err)
	}
	return t, nil
}

// checkURL checks the parameters of a URL in the words of Lambda's validator.
func checkURL(auth, mode string, cors *Cors) error {
	var c constraints
	c.oneOf("authType", auth, FunctionUrlAuthTypeNone, FunctionUrlAuthTypeAwsIam)
	c.oneOf("invokeMode", mode, InvokeModeBuffered, InvokeModeResponseStream)
	if cors != nil {
		if n := wire.Value(cors.MaxAge); n < 0 || n > maxURLAge {
			c.add("cors.maxAge", strconv.Itoa(int(n)), "Member must have value between 0 and "+strconv.Itoa(maxURLAge))
		}
		for _, m := range cors.AllowMethods {
			if len(m) > 6 {
				c.longest("cors.allowMethods", m, 6)
			}
		}
		for _, list := range [][]string{cors.AllowHeaders, cors.AllowMethods, cors.AllowOrigins, cors.ExposeHeaders} {
			for _, v := range list {
				if strings.ContainsAny(v, " ,\r\n") || v == "" {
					c.pattern("cors", v, ".*")
				}
			}
		}
	}
	return c.err()
}

// CreateFunctionUrlConfig gives a function or an alias its URL.
func (d *Door) CreateFunctionUrlConfig(ctx context.Context, in *CreateFunctionUrlConfigInput) (*CreateFunctionUrlConfigOutput, error) {
	if in.AuthType == "" {
		var c constraints
		c.null("authType")
		return nil, c.err()
	}
	if err := checkURL(in.AuthType, in.InvokeMode, in.Cors); err != nil {
		return nil, err
	}
	t, err := d.urlTarget(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	u, err := d.o.URLs.Create(ctx, endpoint.URL{
		Function: t.name, Qualifier: t.qualifier, Signed: in.AuthType == FunctionUrlAuthTypeAwsIam,
		Stream: in.InvokeMode == InvokeModeResponseStream, CORS: readCORS(in.Cors),
	})
	if err != nil {
		return nil, d.failURL(t, err)
	}
	c := d.urlConfig(u)
	return &CreateFunctionUrlConfigOutput{
		AuthType: c.AuthType, Cors: c.Cors, CreationTime: c.CreationTime, FunctionArn: c.FunctionArn, FunctionUrl: c.FunctionUrl, InvokeMode: c.InvokeMode,
	}, nil
}

// GetFunctionUrlConfig shows a URL.
func (d *Door) GetFunctionUrlConfig(_ context.Context, in *GetFunctionUrlConfigInput) (*GetFunctionUrlConfigOutput, error) {
	t, err := d.urlTarget(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	u, err := d.o.URLs.Get(t.name, t.qualifier)
	if err != nil {
		return nil, d.failURL(t, err)
	}
	return (*GetFunctionUrlConfigOutput)(d.urlConfig(u)), nil
}

// UpdateFunctionUrlConfig changes what the request names of a URL.
func (d *Door) UpdateFunctionUrlConfig(ctx context.Context, in *UpdateFunctionUrlConfigInput) (*UpdateFunctionUrlConfigOutput, error) {
	if err := checkURL(in.AuthType, in.InvokeMode, in.Cors); err != nil {
		return nil, err
	}
	t, err := d.urlTarget(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	u, err := d.o.URLs.Update(ctx, t.name, t.qualifier, func(u *endpoint.URL) {
		if in.AuthType != "" {
			u.Signed = in.AuthType == FunctionUrlAuthTypeAwsIam
		}
		if in.InvokeMode != "" {
			u.Stream = in.InvokeMode == InvokeModeResponseStream
		}
		if in.Cors != nil {
			u.CORS = readCORS(in.Cors)
		}
	})
	if err != nil {
		return nil, d.failURL(t, err)
	}
	return (*UpdateFunctionUrlConfigOutput)(d.urlConfig(u)), nil
}

// DeleteFunctionUrlConfig takes a URL away.
func (d *Door) DeleteFunctionUrlConfig(ctx context.Context, in *DeleteFunctionUrlConfigInput) (*DeleteFunctionUrlConfigOutput, error) {
	t, err := d.urlTarget(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := d.o.URLs.Delete(ctx, t.name, t.qualifier); err != nil {
		return nil, d.failURL(t, err)
	}
	return &DeleteFunctionUrlConfigOutput{}, nil
}

// ListFunctionUrlConfigs lists the URLs of a function and its aliases.
func (d *Door) ListFunctionUrlConfigs(_ context.Context, in *ListFunctionUrlConfigsInput) (*ListFunctionUrlConfigsOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if _, err := d.o.Functions.Get(t.name, ""); err != nil {
		return nil, d.fail(t, err)
	}
	after, err := readURLMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxPage)
	if err != nil {
		return nil, err
	}
	last := ""
	out := &ListFunctionUrlConfigsOutput{FunctionUrlConfigs: []FunctionUrlConfig{}}
	for _, u := range d.o.URLs.List(t.name) {
		if in.Marker != nil && u.Qualifier <= after {
			continue
		}
		if len(out.FunctionUrlConfigs) == size {
			out.NextMarker = urlMarker(last)
			break
		}
		out.FunctionUrlConfigs = append(out.FunctionUrlConfigs, *d.urlConfig(u))
		last = u.Qualifier
	}
	return out, nil
}

// markerStart begins what a marker holds: without it, that of the function's own
// URL, which has no qualifier, would be empty and end the list.
const markerStart = ":"

func urlMarker(qualifier string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(markerStart + qualifier)))
}

// readURLMarker returns the qualifier of the last URL on the page before.
func readURLMarker(marker *string) (string, error) {
	if marker == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*marker)
	qualifier, ok := strings.CutPrefix(string(b), markerStart)
	if err != nil || !ok {
		return "", invalid("Invalid marker: pass the NextMarker of the page before.")
	}
	return qualifier, nil
}

func (d *Door) failURL(t target, err error) error {
	switch errs.KindOf(err) {
	case errs.NotFound:
		return wire.Errorf(CodeResourceNotFound, "The resource you requested does not exist.")
	case errs.Conflict:
		return wire.Errorf(CodeResourceConflict, "Failed to create function url config for [functionArn = %s]. Error message:  FunctionUrlConfig exists for this Lambda function", d.arn(t.name, t.qualifier))
	}
	return d.fail(t, err)
}

// urlConfig shows a URL in Lambda's form.
func (d *Door) urlConfig(u *endpoint.URL) *FunctionUrlConfig {
	c := &FunctionUrlConfig{
		AuthType: FunctionUrlAuthTypeNone, InvokeMode: InvokeModeBuffered, Cors: showCORS(u.CORS),
		CreationTime: new(u.Created.UTC().Format(urlTime)), LastModifiedTime: new(u.Modified.UTC().Format(urlTime)),
		FunctionArn: new(d.arn(u.Function, u.Qualifier)), FunctionUrl: new(d.o.URL(u.ID)),
	}
	if u.Signed {
		c.AuthType = FunctionUrlAuthTypeAwsIam
	}
	if u.Stream {
		c.InvokeMode = InvokeModeResponseStream
	}
	return c
}

// readCORS reads what a request says. An empty configuration is how one is taken
// away.
func readCORS(c *Cors) *endpoint.CORS {
	if c == nil || len(c.AllowOrigins)+len(c.AllowMethods)+len(c.AllowHeaders)+len(c.ExposeHeaders) == 0 && !wire.Value(c.AllowCredentials) && wire.Value(c.MaxAge) == 0 {
		return nil
	}
	return &endpoint.CORS{
		Origins: c.AllowOrigins, Methods: c.AllowMethods, Headers: c.AllowHeaders, Expose: c.ExposeHeaders,
		Credentials: wire.Value(c.AllowCredentials), MaxAge: time.Duration(wire.Value(c.MaxAge)) * time.Second,
	}
}

func showCORS(c *endpoint.CORS) *Cors {
	if c == nil {
		return nil
	}
	return &Cors{
		AllowOrigins: c.Origins, AllowMethods: c.Methods, AllowHeaders: c.Headers, ExposeHeaders: c.Expose,
		AllowCredentials: wire.Some(c.Credentials), MaxAge: wire.Some(int32(c.MaxAge / time.Second)),
	}
}

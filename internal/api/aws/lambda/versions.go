package lambda

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// PublishVersion makes an immutable version of $LATEST, or shows the last one if
// nothing has changed since.
func (d *Door) PublishVersion(ctx context.Context, in *PublishVersionInput) (*PublishVersionOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != "" {
		return nil, errPublishTo()
	}
	v, err := d.o.Functions.Publish(ctx, t.name, function.Publication{
		Description: in.Description, Revision: wire.Value(in.RevisionId), CodeSHA256: codeSum(wire.Value(in.CodeSha256)),
	})
	if err != nil {
		return nil, d.failPublish(t, wire.Value(in.CodeSha256), err)
	}
	return d.configuration(ctx, v, v.Version), nil
}

// errPublishTo refuses $LATEST.PUBLISHED, which belongs to capacity providers.
func errPublishTo() error {
	return invalid("PublishTo is not supported: it is for functions with a capacity provider.")
}

// codeSum turns CodeSha256 as Lambda writes it into the core's form. What is no
// such sum stays and matches none.
func codeSum(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return s
	}
	return hex.EncodeToString(b)
}

// failPublish is fail for PublishVersion.
func (d *Door) failPublish(t target, sum string, err error) error {
	if reasonOf(err) != function.ReasonCodeSHA {
		return d.fail(t, err)
	}
	current := ""
	if v, err := d.o.Functions.Get(t.name, ""); err == nil {
		current = codeSha256(v.Code)
	}
	return invalid("CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", sum, current)
}

// ListVersionsByFunction lists $LATEST and then the published versions, oldest
// first.
func (d *Door) ListVersionsByFunction(ctx context.Context, in *ListVersionsByFunctionInput) (*ListVersionsByFunctionOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxListItems)
	if err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker, isVersion)
	if err != nil {
		return nil, err
	}
	page, more, err := d.o.Functions.Versions(t.name, after, size)
	if err != nil {
		return nil, d.fail(t, err)
	}
	out := &ListVersionsByFunctionOutput{Versions: make([]FunctionConfiguration, 0, len(page))}
	for _, v := range page {
		out.Versions = append(out.Versions, *d.listed(ctx, v, v.Version))
	}
	if more {
		out.NextMarker = marker(page[len(page)-1].Version)
	}
	return out, nil
}

// isVersion reports whether s names a version, published or not.
func isVersion(s string) bool {
	n, err := strconv.Atoi(s)
	return s == function.Latest || err == nil && n > 0
}

// DeleteFunction removes a function, or one published version of it.
func (d *Door) DeleteFunction(ctx context.Context, in *DeleteFunctionInput) (*DeleteFunctionOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	switch t.qualifier {
	case function.Latest:
		return nil, invalid("$LATEST version cannot be deleted without deleting the function.")
	case "":
		if err = d.o.Functions.Delete(ctx, t.name); err == nil {
			err = d.forget(ctx, t.name)
		}
	default:
		err = d.o.Functions.DeleteVersion(ctx, t.name, t.qualifier)
	}
	if err != nil {
		return nil, d.fail(t, err)
	}
	return &DeleteFunctionOutput{StatusCode: new(int32(http.StatusNoContent))}, nil
}

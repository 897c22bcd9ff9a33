package lambda

import (
	"context"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// CreateFunction stores a new function; its state is Pending until its image is
// built.
func (d *Door) CreateFunction(ctx context.Context, in *CreateFunctionInput) (*CreateFunctionOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if err := checkCreate(in); err != nil {
		return nil, err
	}
	s := createSettings(in)
	if err := s.check(t.name); err != nil {
		return nil, err
	}
	if err := s.readDeadLetter(d.place()); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	zip, err := codeSource(in.Code).bytes(ctx, d.o.Objects)
	if err != nil {
		return nil, err
	}
	c := function.Config{
		MemoryMB: defaultMemoryMB, TmpMB: defaultTmpMB, Timeout: defaultTimeout,
		Tracing: defaultTracing, Architecture: d.o.Functions.Limits().Architectures[0],
	}
	s.apply(&c)
	v, err := d.o.Functions.Create(ctx, function.New{Name: t.name, Config: c, Package: zip, Tags: in.Tags, Publish: wire.Value(in.Publish)}, false)
	if err != nil {
		return nil, d.failRuntime(t, in.Runtime, err)
	}
	d.warn(v)
	return d.configuration(ctx, v, ""), nil
}

// checkCreate checks the parameters that only CreateFunction has.
func checkCreate(in *CreateFunctionInput) error {
	var c constraints
	if in.Role == nil {
		c.null("role")
	}
	if in.Code == nil {
		c.null("code")
	}
	c.oneOf("packageType", in.PackageType, PackageTypeZip, PackageTypeImage)
	if err := c.err(); err != nil {
		return err
	}
	switch {
	case in.PackageType == PackageTypeImage:
		return invalid("PackageType Image is not supported: send a zip archive as ZipFile.")
	case wire.Value(in.CodeSigningConfigArn) != "":
		return invalid("CodeSigningConfigArn is not supported.")
	case in.TenancyConfig != nil:
		return invalid("TenancyConfig is not supported.")
	}
	if in.PublishTo != "" {
		return errPublishTo()
	}
	return nil
}

func createSettings(in *CreateFunctionInput) settings {
	return settings{
		description: in.Description, environment: in.Environment, ephemeral: in.EphemeralStorage, handler: in.Handler,
		memory: in.MemorySize, role: in.Role, runtime: in.Runtime, timeout: in.Timeout, tracing: in.TracingConfig,
		architectures: in.Architectures, capacityProvider: in.CapacityProviderConfig, deadLetter: in.DeadLetterConfig,
		durable: in.DurableConfig, fileSystems: in.FileSystemConfigs, image: in.ImageConfig, key: in.KMSKeyArn,
		layers: in.Layers, logging: in.LoggingConfig, snapStart: in.SnapStart, vpc: in.VpcConfig,
	}
}

func codeSource(c *FunctionCode) source {
	return source{
		zip: c.ZipFile, bucket: c.S3Bucket, key: c.S3Key, objectVersion: c.S3ObjectVersion,
		image: wire.Value(c.ImageUri), encryptionKey: wire.Value(c.SourceKMSKeyArn), storedAs: c.S3ObjectStorageMode,
	}
}

// warn logs that something else than the runtime asked for serves a function.
func (d *Door) warn(v *function.Version) {
	if v.RuntimeWarning != "" {
		d.o.Log.Warn("runtime", "function", v.Function, "runtime", v.Runtime, "warning", v.RuntimeWarning)
	}
}

// GetFunction shows a function with its tags and where its code is.
func (d *Door) GetFunction(ctx context.Context, in *GetFunctionInput) (*GetFunctionOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	v, err := d.o.Functions.Get(t.name, t.qualifier)
	if err != nil {
		return nil, d.fail(t, err)
	}
	out := &GetFunctionOutput{
		Code:          &FunctionCodeLocation{RepositoryType: new("S3"), Location: new(d.codeURL(ctx, v))},
		Configuration: d.configuration(ctx, v, t.qualifier),
	}
	tags, err := d.o.Functions.Tags(t.name)
	if err != nil {
		return nil, d.fail(t, err)
	}
	if len(tags) > 0 {
		out.Tags = tags
	}
	n, err := d.reserved(t)
	if err != nil {
		return nil, err
	}
	if n != nil {
		out.Concurrency = &Concurrency{ReservedConcurrentExecutions: n}
	}
	return out, nil
}

// GetFunctionConfiguration shows a function's configuration.
func (d *Door) GetFunctionConfiguration(ctx context.Context, in *GetFunctionConfigurationInput) (*GetFunctionConfigurationOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	v, err := d.o.Functions.Get(t.name, t.qualifier)
	if err != nil {
		return nil, d.fail(t, err)
	}
	return d.configuration(ctx, v, t.qualifier), nil
}

// ListFunctions lists functions by name, or with FunctionVersion ALL each with
// its published versions after it.
func (d *Door) ListFunctions(ctx context.Context, in *ListFunctionsInput) (*ListFunctionsOutput, error) {
	var c constraints
	c.oneOf("functionVersion", in.FunctionVersion, FunctionVersionAll)
	if err := c.err(); err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxListItems)
	if err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker, func(s string) bool { _, ok := arn.Parse(s); return ok })
	if err != nil {
		return nil, err
	}
	name, version, _ := strings.Cut(after, ":")
	var page []*function.Version
	var more bool
	all := in.FunctionVersion == FunctionVersionAll
	if all {
		page, more = d.o.Functions.ListAll(name, version, size)
	} else {
		page, more = d.o.Functions.List(name, size)
	}
	out := &ListFunctionsOutput{Functions: make([]FunctionConfiguration, 0, len(page))}
	last := ""
	for _, v := range page {
		qualifier := ""
		last = v.Function
		if all {
			qualifier = v.Version
			last += ":" + v.Version
		}
		out.Functions = append(out.Functions, *d.listed(ctx, v, qualifier))
	}
	if more {
		out.NextMarker = marker(last)
	}
	return out, nil
}

// UpdateFunctionCode gives a function new code; calls run the old code until
// its image is built.
func (d *Door) UpdateFunctionCode(ctx context.Context, in *UpdateFunctionCodeInput) (*UpdateFunctionCodeOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != "" {
		return nil, errPublishTo()
	}
	s := settings{architectures: in.Architectures}
	if err := s.check(t.name); err != nil {
		return nil, err
	}
	zip, err := source{
		zip: in.ZipFile, bucket: in.S3Bucket, key: in.S3Key, objectVersion: in.S3ObjectVersion,
		image: wire.Value(in.ImageUri), encryptionKey: wire.Value(in.SourceKMSKeyArn), storedAs: in.S3ObjectStorageMode,
	}.bytes(ctx, d.o.Objects)
	if err != nil {
		return nil, err
	}
	change := function.CodeChange{Package: zip, Revision: wire.Value(in.RevisionId), Dry: wire.Value(in.DryRun), Publish: wire.Value(in.Publish)}
	if len(in.Architectures) > 0 {
		change.Architecture = goarch(in.Architectures[0])
	}
	v, err := d.o.Functions.UpdateCode(ctx, t.name, change)
	if err != nil {
		return nil, d.fail(t, err)
	}
	qualifier := ""
	if v.Version != function.Latest {
		qualifier = v.Version
	}
	return d.configuration(ctx, v, qualifier), nil
}

// UpdateFunctionConfiguration changes what the request names of a function's
// configuration; calls see the old one until the change is complete.
func (d *Door) UpdateFunctionConfiguration(ctx context.Context, in *UpdateFunctionConfigurationInput) (*UpdateFunctionConfigurationOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	s := settings{
		description: in.Description, environment: in.Environment, ephemeral: in.EphemeralStorage, handler: in.Handler,
		memory: in.MemorySize, role: in.Role, runtime: in.Runtime, timeout: in.Timeout, tracing: in.TracingConfig,
		capacityProvider: in.CapacityProviderConfig, deadLetter: in.DeadLetterConfig,
		durable: in.DurableConfig, fileSystems: in.FileSystemConfigs, image: in.ImageConfig, key: in.KMSKeyArn,
		layers: in.Layers, logging: in.LoggingConfig, snapStart: in.SnapStart, vpc: in.VpcConfig,
	}
	if err := s.check(t.name); err != nil {
		return nil, err
	}
	if err := s.readDeadLetter(d.place()); err != nil {
		return nil, err
	}
	v, err := d.o.Functions.UpdateConfig(ctx, t.name, wire.Value(in.RevisionId), s.apply)
	if err != nil {
		return nil, d.failRuntime(t, in.Runtime, err)
	}
	d.warn(v)
	return d.configuration(ctx, v, ""), nil
}

// GetAccountSettings shows the node's limits and what is used of them.
func (d *Door) GetAccountSettings(context.Context, *GetAccountSettingsInput) (*GetAccountSettingsOutput, error) {
	l := d.o.Functions.Limits()
	n, size := d.o.Functions.Usage()
	return &GetAccountSettingsOutput{
		AccountLimit: &AccountLimit{
			TotalCodeSize: new(l.CodeStorage), CodeSizeUnzipped: new(l.Unpacked), CodeSizeZipped: new(l.Package),
			ConcurrentExecutions: new(int32(d.o.Concurrency)), UnreservedConcurrentExecutions: new(int32(d.o.Functions.Unclaimed())),
		},
		AccountUsage: &AccountUsage{TotalCodeSize: new(size), FunctionCount: new(int64(n))},
	}, nil
}

// checkTags refuses the tags that AWS keeps for itself.
func checkTags(tags map[string]string) error {
	for k := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return invalid("The tag key %s begins with aws:, which is reserved.", k)
		}
	}
	return nil
}

// taggable reads the ARN of a function that has tags.
func (d *Door) taggable(resource *string) (target, error) {
	if !strings.HasPrefix(wire.Value(resource), "arn:") {
		var c constraints
		c.pattern("resource", wire.Value(resource), `arn:(aws[a-zA-Z-]*):lambda:...:function:[a-zA-Z0-9-_]+`)
		return target{}, c.err()
	}
	t, err := d.target(resource, nil)
	if err == nil && t.qualifier != "" {
		return target{}, invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return t, err
}

// ListTags shows a function's tags.
func (d *Door) ListTags(_ context.Context, in *ListTagsInput) (*ListTagsOutput, error) {
	t, err := d.taggable(in.Resource)
	if err != nil {
		return nil, err
	}
	tags, err := d.o.Functions.Tags(t.name)
	if err != nil {
		return nil, d.fail(t, err)
	}
	return &ListTagsOutput{Tags: tags}, nil
}

// TagResource adds tags to a function.
func (d *Door) TagResource(ctx context.Context, in *TagResourceInput) (*TagResourceOutput, error) {
	t, err := d.taggable(in.Resource)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, invalid("An error occurred and the request cannot be processed. Please specify at least one tag.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := d.o.Functions.Tag(ctx, t.name, in.Tags); err != nil {
		return nil, d.fail(t, err)
	}
	return &TagResourceOutput{}, nil
}

// UntagResource removes tags from a function.
func (d *Door) UntagResource(ctx context.Context, in *UntagResourceInput) (*UntagResourceOutput, error) {
	t, err := d.taggable(in.Resource)
	if err != nil {
		return nil, err
	}
	if len(in.TagKeys) == 0 {
		return nil, invalid("Please specify at least one tag key.")
	}
	if err := d.o.Functions.Untag(ctx, t.name, in.TagKeys); err != nil {
		return nil, d.fail(t, err)
	}
	return &UntagResourceOutput{}, nil
}

package lambda

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// What Lambda gives a function whose owner says nothing.
const (
	defaultMemoryMB = 128
	defaultTmpMB    = 512
	defaultTimeout  = 3 * time.Second
	defaultTracing  = TracingModePassThrough
)

// settings are the parameters that CreateFunction and
// UpdateFunctionConfiguration share. What is absent stays as it is.
type settings struct {
	description   *string
	environment   *Environment
	ephemeral     *EphemeralStorage
	handler       *string
	memory        *int32
	role          *string
	runtime       string
	timeout       *int32
	tracing       *TracingConfig
	architectures []string
	deadLetter    *DeadLetterConfig
	deadTarget    event.Target // what readDeadLetter found

	// What can't be honoured, or only at its default.
	capacityProvider *CapacityProviderConfig
	durable          *DurableConfig
	fileSystems      []FileSystemConfig
	image            *ImageConfig
	key              *string
	layers           []string
	logging          *LoggingConfig
	snapStart        *SnapStart
	vpc              *VpcConfig
}

// check reports what Lambda itself would refuse, and then what this node can't
// do. name is the function's.
func (s *settings) check(name string) error {
	var c constraints
	if s.role != nil && !arn.ValidRole(*s.role) {
		c.pattern("role", *s.role, arn.RolePattern)
	}
	if s.tracing != nil {
		c.oneOf("tracingConfig.mode", s.tracing.Mode, TracingModeActive, TracingModePassThrough)
	}
	if s.snapStart != nil {
		c.oneOf("snapStart.applyOn", s.snapStart.ApplyOn, SnapStartApplyOnPublishedVersions, SnapStartApplyOnNone)
	}
	if s.logging != nil {
		s.checkLogging(&c)
	}
	for _, a := range s.architectures {
		c.oneOf("architectures", a, ArchitectureX8664, ArchitectureArm64)
	}
	if len(s.architectures) > 1 {
		c.add("architectures", "["+strings.Join(s.architectures, ", ")+"]", "Member must have length less than or equal to 1")
	}
	if err := c.err(); err != nil {
		return err
	}
	if s.environment != nil {
		if err := checkReserved(s.environment.Variables); err != nil {
			return err
		}
	}
	if err := s.checkLevels(); err != nil {
		return err
	}
	return s.checkSupported(name)
}

// readDeadLetter reads where asynchronous calls go that failed.
func (s *settings) readDeadLetter(place arn.Place) (err error) {
	if s.deadLetter == nil || wire.Value(s.deadLetter.TargetArn) == "" {
		return nil
	}
	if s.deadTarget, err = place.Parse(*s.deadLetter.TargetArn); err != nil {
		return invalid("The DeadLetterConfig's TargetArn is invalid: %s", err)
	}
	if s.deadTarget.Kind != event.Queue {
		return invalid("The DeadLetterConfig's TargetArn %s is not supported: name a queue.", *s.deadLetter.TargetArn)
	}
	return nil
}

// checkSupported refuses parameters that ask for what this node does not do:
// a function that silently lacks its network or its layer is worse than none.
func (s *settings) checkSupported(name string) error {
	for _, p := range []struct {
		given bool
		what  string
	}{
		{s.capacityProvider != nil, "CapacityProviderConfig is not supported: functions run on this node"},
		{s.durable != nil, "DurableConfig is not supported yet"},
		{len(s.fileSystems) > 0, "FileSystemConfigs is not supported"},
		{s.image != nil, "ImageConfig is not supported: functions are deployed as zip archives"},
		{wire.Value(s.key) != "", "KMSKeyArn is not supported: environment variables are kept with the node's own data"},
		{len(s.layers) > 0, "Layers is not supported yet: put the layer's files into the zip archive"},
		{s.vpc != nil && len(s.vpc.SubnetIds)+len(s.vpc.SecurityGroupIds) > 0, "VpcConfig is not supported: functions reach the network through the node"},
	} {
		if p.given {
			return invalid("%s.", p.what)
		}
	}
	return nil
}

// reserved are the environment variables that Lambda sets itself.
var reserved = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID",
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
	"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
}

func checkReserved(env map[string]string) error {
	var used []string
	for k := range env {
		if slices.Contains(reserved, k) {
			used = append(used, k)
		}
	}
	if len(used) == 0 {
		return nil
	}
	slices.Sort(used)
	return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(used, ", "))
}

// apply puts the settings into c.
func (s *settings) apply(c *function.Config) {
	set(&c.Description, s.description)
	set(&c.Handler, s.handler)
	set(&c.Role, s.role)
	if s.runtime != "" {
		c.Runtime = s.runtime
	}
	if s.memory != nil {
		c.MemoryMB = int(*s.memory)
	}
	if s.timeout != nil {
		c.Timeout = time.Duration(*s.timeout) * time.Second
	}
	if s.ephemeral != nil {
		c.TmpMB = int(wire.Value(s.ephemeral.Size))
	}
	if s.environment != nil {
		c.Env = s.environment.Variables
	}
	if s.deadLetter != nil {
		c.DeadLetter = s.deadTarget
	}
	if s.tracing != nil && s.tracing.Mode != "" {
		c.Tracing = s.tracing.Mode
	}
	if s.logging != nil {
		c.Logging = s.applyLogging(c.Logging)
	}
	if len(s.architectures) > 0 {
		c.Architecture = goarch(s.architectures[0])
	}
	if s.snapStart != nil {
		c.Snapshot = snapshotOf(s.snapStart)
	}
	c.Web = webOf(c)
}

// snapshotOf takes SnapStart as the owner's wish for or against snapshots. Who
// doesn't mention it leaves that to the node, which makes them of all versions.
func snapshotOf(s *SnapStart) string {
	if s.ApplyOn == SnapStartApplyOnPublishedVersions {
		return function.SnapshotPublished
	}
	return function.SnapshotOff
}

// snapStart is what an owner sees of it: Lambda's own terms, which say nothing of
// snapshots that nobody asked for. It is on when there is a snapshot.
func (d *Door) snapStart(ctx context.Context, v *function.Version) *SnapStartResponse {
	r := &SnapStartResponse{ApplyOn: SnapStartApplyOnNone, OptimizationStatus: SnapStartOptimizationStatusOff}
	if v.Snapshot == function.SnapshotPublished {
		r.ApplyOn = SnapStartApplyOnPublishedVersions
		if v.Version != function.Latest && d.o.Snapshots.Saved(ctx, v) {
			r.OptimizationStatus = SnapStartOptimizationStatusOn
		}
	}
	return r
}

func set(to *string, from *string) {
	if from != nil {
		*to = *from
	}
}

// source is where a request says that the code is.
type source struct {
	zip                            []byte
	bucket, key, objectVersion     *string
	image, encryptionKey, storedAs string
}

// Objects is where code packages in buckets are read.
type Objects interface {
	// ReadObject returns an object, or the version of it that is named, of at most
	// limit bytes. Errors: NotFound, TooLarge, Unavailable.
	ReadObject(ctx context.Context, bucket, key, version string, limit int64) ([]byte, error)
}

// maxObject is the largest code package that is read from a bucket, in bytes: what
// Lambda allows unpacked.
const maxObject = 250 << 20

// bytes returns the code package; nil if none was given.
func (s source) bytes(ctx context.Context, objects Objects) ([]byte, error) {
	switch {
	case s.image != "":
		return nil, invalid("Container images are not supported: send a zip archive as ZipFile.")
	case s.storedAs != "" && s.storedAs != "COPY":
		return nil, invalid("Code that stays in its bucket is not supported: the node keeps a copy.")
	case s.encryptionKey != "":
		return nil, invalid("SourceKMSKeyArn is not supported: send an unencrypted zip archive as ZipFile.")
	}
	if s.bucket == nil && s.key == nil && s.objectVersion == nil {
		return s.zip, nil
	}
	switch {
	case len(s.zip) > 0:
		return nil, invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case wire.Value(s.bucket) == "" || wire.Value(s.key) == "":
		return nil, invalid("Please provide a source for function code: S3Bucket and S3Key go together.")
	case objects == nil:
		return nil, invalid("This node has no object storage: send the zip archive as ZipFile.")
	}
	zip, err := objects.ReadObject(ctx, *s.bucket, *s.key, wire.Value(s.objectVersion), maxObject)
	if e := errs.Of(err); err != nil && e.Kind != errs.Unavailable {
		return nil, invalid("Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", cmp.Or(e.Reason, "InternalError"), e.Message)
	}
	return zip, err
}

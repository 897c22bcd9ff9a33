package lambda

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// timeLayout is how Lambda writes LastModified.
const timeLayout = "2006-01-02T15:04:05.000+0000"

// configuration shows a version with its state. qualifier is the one that the
// request used: Lambda repeats it in the ARN.
func (d *Door) configuration(ctx context.Context, v *function.Version, qualifier string) *FunctionConfiguration {
	c := d.listed(ctx, v, qualifier)
	c.State = string(v.State)
	c.StateReason = wire.Some(v.StateReason)
	c.StateReasonCode = reasonCode(v.StateReasonCode)
	c.LastUpdateStatus = string(v.Update)
	c.LastUpdateStatusReason = wire.Some(v.UpdateReason)
	c.LastUpdateStatusReasonCode = reasonCode(v.UpdateReasonCode)
	c.RuntimeVersionConfig = d.runtimeVersion(v)
	return c
}

// listed shows a version as lists do: without state and runtime version.
func (d *Door) listed(ctx context.Context, v *function.Version, qualifier string) *FunctionConfiguration {
	c := &FunctionConfiguration{
		Architectures:    []string{architectureName(v.Architecture)},
		CodeSha256:       new(codeSha256(v.Code)),
		CodeSize:         new(v.Code.Size),
		Description:      new(v.Description),
		EphemeralStorage: &EphemeralStorage{Size: new(int32(v.TmpMB))},
		FunctionArn:      new(d.arn(v.Function, qualifier)),
		FunctionName:     new(v.Function),
		Handler:          new(v.Handler),
		LastModified:     new(v.Modified.UTC().Format(timeLayout)),
		LoggingConfig:    loggingOf(v),
		MemorySize:       new(int32(v.MemoryMB)),
		PackageType:      PackageTypeZip,
		RevisionId:       new(v.Revision),
		Role:             new(v.Role),
		Runtime:          v.Runtime,
		SnapStart:        d.snapStart(ctx, v),
		Timeout:          new(int32(v.Timeout / time.Second)),
		TracingConfig:    &TracingConfigResponse{Mode: v.Tracing},
		Version:          new(v.Version),
	}
	if len(v.Env) > 0 {
		c.Environment = &EnvironmentResponse{Variables: v.Env}
	}
	if v.DeadLetter.Kind != "" {
		c.DeadLetterConfig = &DeadLetterConfig{TargetArn: new(d.place().Target(v.DeadLetter))}
	}
	return c
}

func codeSha256(c function.Code) string {
	b, err := hex.DecodeString(c.SHA256)
	if err != nil { // a document from elsewhere: show what it says
		return c.SHA256
	}
	return base64.StdEncoding.EncodeToString(b)
}

func logGroup(name string) string { return "/aws/lambda/" + name }

// reasonCode translates the core's reason codes to those of Lambda's model.
func reasonCode(code string) string {
	switch code {
	case function.CodeInvalidPackage:
		return StateReasonCodeInvalidZipFileException
	case function.CodeInternal:
		return StateReasonCodeInternalError
	case function.CodeCreating:
		return StateReasonCodeCreating
	}
	return code
}

// runtimeVersion names what serves the version's runtime. Its Error member
// carries the warning when that is another version than the one asked for.
func (d *Door) runtimeVersion(v *function.Version) *RuntimeVersionConfig {
	sum := sha256.Sum256([]byte(v.RuntimeResolved))
	c := &RuntimeVersionConfig{RuntimeVersionArn: new("arn:" + arn.Partition + ":lambda:" + d.o.Region + "::runtime:" + hex.EncodeToString(sum[:]))}
	if v.RuntimeWarning != "" {
		c.Error = &RuntimeVersionError{ErrorCode: new("RuntimeSubstituted"), Message: new(v.RuntimeWarning)}
	}
	return c
}

// The names of architectures: Go's and Lambda's.
var architectureNames = map[string]string{"amd64": ArchitectureX8664, "arm64": ArchitectureArm64}

func architectureName(goarch string) string {
	if name, ok := architectureNames[goarch]; ok {
		return name
	}
	return goarch
}

func goarch(name string) string {
	for g, n := range architectureNames {
		if n == name {
			return g
		}
	}
	return name
}

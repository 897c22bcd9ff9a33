package meter

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// FuzzEncode holds Encode to what encoding/json makes of a record.
func FuzzEncode(f *testing.F) {
	f.Add("r1", "f", "$LATEST", "", "", int64(0), int64(0), true)
	f.Add("r2", "f", "7", "live", "Value<Error>&\"\\\n\x7f\u2028é\xff", int64(-3), int64(1_800_000_000_000_000_000), false)
	f.Fuzz(func(t *testing.T, id, function, version, alias, errorType string, some, start int64, warm bool) {
		r := Record{
			RequestID: id, Function: function, Version: version, Alias: alias, ErrorType: errorType,
			Start: time.Unix(0, start), Duration: time.Duration(some), Billed: time.Duration(start), PeakBytes: some,
			Attempt: int(some), MemoryMB: int(start), Outcome: Outcome(alias), Trace: errorType, Kept: !warm,
		}
		if !warm {
			r.Init, r.Restore, r.Revive, r.Streamed, r.Age, r.TmpMB = 1, 2, time.Duration(some), some, time.Duration(some), 512
			r.Instance, r.Span, r.Parent = id, version, function
			r.Phases = Phases{Sandbox: time.Duration(some), Init: 4, Answer: time.Duration(start)}
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(&r); err != nil {
			t.Fatal(err)
		}
		if got := encodeBatch([]Record{r}); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("encoded as\n%s\nencoding/json makes\n%s", got, want.Bytes())
		}
	})
}

// TestEncodeKnowsEachField fails when a field is added to Record or Phases and not
// to Encode.
func TestEncodeKnowsEachField(t *testing.T) {
	r := Record{
		RequestID: "a", Attempt: 1, Function: "b", Version: "c", Alias: "d", Start: time.Unix(5, 0), Duration: 6, Init: 7, Restore: 8, Revive: 9,
		Billed: 10, MemoryMB: 11, TmpMB: 12, PeakBytes: 13, Streamed: 14, Outcome: OK, ErrorType: "e", Age: 15, Kept: true,
		Instance: "f", Trace: "g", Span: "h", Parent: "i", Phases: Phases{Queue: 16, Sandbox: 17, Restore: 18, Init: 19, Answer: 20},
	}
	want, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Encode(); !bytes.Equal(got, want) {
		t.Errorf("encoded as\n%s\nencoding/json makes\n%s", got, want)
	}
	for _, v := range []reflect.Value{reflect.ValueOf(r), reflect.ValueOf(r.Phases)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("the test's record leaves %s out", v.Type().Field(i).Name)
			}
		}
	}
}

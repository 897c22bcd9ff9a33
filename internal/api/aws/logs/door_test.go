package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

type someFunctions []*function.Version

func (f someFunctions) List(after string, _ int) ([]*function.Version, bool) {
	if after != "" {
		return nil, false
	}
	return f, false
}

// newDoor returns a door on three functions, two of which share a group.
func newDoor(t *testing.T) (*Door, *logs.Store) {
	t.Helper()
	store, err := logs.Open(logs.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	shared := function.Config{Logging: function.Logging{Group: "/shared"}}
	return New(Options{Region: "us-east-1", Account: "000000000000", Store: store, Functions: someFunctions{
		{Function: "f"}, {Function: "g", Config: shared}, {Function: "h", Config: shared},
	}}), store
}

const instance = "0123456789abcdef012345676a0b0c00" // made on 2026-05-18

func put(t *testing.T, s *logs.Store, fn string, at time.Time, texts ...string) {
	t.Helper()
	for i, text := range texts {
		err := s.Append(fn, logs.Entry{Time: at.Add(time.Duration(i) * time.Second), Instance: instance, Version: "$LATEST", Stream: logs.Output, Text: text})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestGroupsAreFunctionsSharedOnesAndClients(t *testing.T) {
	d, store := newDoor(t)
	ctx := t.Context()
	put(t, store, "gone", time.Now(), "a function that was removed")
	if _, err := d.CreateLogGroup(ctx, &CreateLogGroupInput{LogGroupName: new("mine"), Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateLogGroup(ctx, &CreateLogGroupInput{LogGroupName: new("mine")}); err == nil {
		t.Error("a group was made twice")
	}
	out, err := d.DescribeLogGroups(ctx, &DescribeLogGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range out.LogGroups {
		if *g.LogGroupName == "/aws/lambda/gone" && time.Since(time.UnixMilli(*g.CreationTime)) > time.Hour {
			t.Errorf("a function's group was made at %d", *g.CreationTime)
		}
		names = append(names, *g.LogGroupName)
	}
	if got := strings.Join(names, " "); got != "/aws/lambda/f /aws/lambda/gone /shared mine" {
		t.Errorf("groups %s", got)
	}
	first, err := d.DescribeLogGroups(ctx, &DescribeLogGroupsInput{Limit: new(int32(1)), LogGroupNamePrefix: new("/")})
	if err != nil || len(first.LogGroups) != 1 || *first.NextToken != "/aws/lambda/f" {
		t.Errorf("the first page: %+v, %v", first, err)
	}
	if _, err := d.PutRetentionPolicy(ctx, &PutRetentionPolicyInput{LogGroupName: new("/shared"), RetentionInDays: new(int32(7))}); err != nil {
		t.Fatal(err)
	}
	for _, fn := range []string{"g", "h"} {
		if info, _, err := store.Get(fn); err != nil || info.Settings.RetentionDays != 7 {
			t.Errorf("%s: %+v, %v", fn, info, err)
		}
	}
	_, err = d.PutRetentionPolicy(ctx, &PutRetentionPolicyInput{LogGroupName: new("mine"), RetentionInDays: new(int32(2))})
	wantCode(t, err, CodeInvalidParameter)
	tags, err := d.ListTagsForResource(ctx, &ListTagsForResourceInput{ResourceArn: new("arn:aws:logs:us-east-1:000000000000:log-group:mine:*")})
	if err != nil || tags.Tags["a"] != "b" {
		t.Errorf("tags %v, %v", tags, err)
	}
	if _, err := d.DeleteLogGroup(ctx, &DeleteLogGroupInput{LogGroupName: new("mine")}); err != nil {
		t.Fatal(err)
	}
	_, err = d.DeleteLogGroup(ctx, &DeleteLogGroupInput{LogGroupName: new("mine")})
	wantCode(t, err, CodeResourceNotFound)
}

func TestFilterMergesTheFunctionsOfAGroupAndPages(t *testing.T) {
	d, store := newDoor(t)
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	put(t, store, "g", base, "g0", "g1", "g2")
	put(t, store, "h", base.Add(500*time.Millisecond), "h0", "h1", "skip this", "h2")
	var got []string
	ids := map[string]bool{}
	in := &FilterLogEventsInput{LogGroupName: new("/shared"), FilterPattern: new("-skip"), Limit: new(int32(2)), StartTime: new(base.UnixMilli())}
	for pages := 0; pages < 10; pages++ {
		out, err := d.FilterLogEvents(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			got = append(got, strings.TrimSpace(*e.Message))
			ids[*e.EventId] = true
			if *e.LogStreamName != "2026/05/18/[$LATEST]"+instance {
				t.Errorf("stream %s", *e.LogStreamName)
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if s := strings.Join(got, " "); s != "g0 h0 g1 h1 g2 h2" || len(ids) != 6 {
		t.Errorf("got %s with %d ids", s, len(ids))
	}
}

func TestGetReadsAStreamBothWays(t *testing.T) {
	d, store := newDoor(t)
	at := time.Now().Add(-time.Hour)
	for i := range 10 { // all at the same time
		put(t, store, "f", at, fmt.Sprint("n", i))
	}
	name := new("2026/05/18/[$LATEST]" + instance)
	read := func(in GetLogEventsInput) (string, *GetLogEventsOutput) {
		t.Helper()
		in.LogGroupName, in.LogStreamName, in.Limit = new("/aws/lambda/f"), name, new(int32(4))
		out, err := d.GetLogEvents(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, e := range out.Events {
			s = append(s, strings.TrimSpace(*e.Message))
		}
		return strings.Join(s, " "), out
	}
	s, out := read(GetLogEventsInput{})
	if s != "n6 n7 n8 n9" {
		t.Errorf("the latest: %s", s)
	}
	if s, _ := read(GetLogEventsInput{NextToken: out.NextBackwardToken}); s != "n2 n3 n4 n5" {
		t.Errorf("those before: %s", s)
	}
	s, end := read(GetLogEventsInput{NextToken: out.NextForwardToken})
	if s != "" || *end.NextForwardToken != *out.NextForwardToken {
		t.Errorf("past the end: %q, token %s after %s", s, *end.NextForwardToken, *out.NextForwardToken)
	}
	s, out = read(GetLogEventsInput{StartFromHead: new(true)})
	if s != "n0 n1 n2 n3" {
		t.Errorf("from the head: %s", s)
	}
	if s, _ := read(GetLogEventsInput{NextToken: out.NextForwardToken}); s != "n4 n5 n6 n7" {
		t.Errorf("those after: %s", s)
	}
	_, err := d.GetLogEvents(t.Context(), &GetLogEventsInput{LogGroupName: new("/aws/lambda/f"), LogStreamName: new("none")})
	wantCode(t, err, CodeResourceNotFound)
}

func TestClientsPutEventsInOrder(t *testing.T) {
	d, _ := newDoor(t)
	ctx := t.Context()
	now := time.Now()
	if _, err := d.CreateLogGroup(ctx, &CreateLogGroupInput{LogGroupName: new("mine")}); err != nil {
		t.Fatal(err)
	}
	in := &PutLogEventsInput{LogGroupName: new("mine"), LogStreamName: new("s")}
	in.LogEvents = []InputLogEvent{
		{Message: new("old"), Timestamp: new(now.Add(-15 * 24 * time.Hour).UnixMilli())},
		{Message: new("now"), Timestamp: new(now.UnixMilli())},
		{Message: new("far"), Timestamp: new(now.Add(5 * time.Hour).UnixMilli())},
	}
	_, err := d.PutLogEvents(ctx, in)
	wantCode(t, err, CodeResourceNotFound)
	if _, err := d.CreateLogStream(ctx, &CreateLogStreamInput{LogGroupName: new("mine"), LogStreamName: new("s")}); err != nil {
		t.Fatal(err)
	}
	out, err := d.PutLogEvents(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if r := out.RejectedLogEventsInfo; r == nil || *r.TooOldLogEventEndIndex != 1 || *r.TooNewLogEventStartIndex != 2 {
		t.Errorf("rejected %+v", r)
	}
	got, err := d.GetLogEvents(ctx, &GetLogEventsInput{LogGroupName: new("mine"), LogStreamName: new("s")})
	if err != nil || len(got.Events) != 1 || *got.Events[0].Message != "now" {
		t.Errorf("%+v, %v", got, err)
	}
	in.LogEvents[0], in.LogEvents[1] = in.LogEvents[1], in.LogEvents[0]
	_, err = d.PutLogEvents(ctx, in)
	wantCode(t, err, CodeInvalidParameter)
}

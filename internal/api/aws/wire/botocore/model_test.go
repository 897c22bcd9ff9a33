package botocore_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

const model = `{"metadata":{"protocol":"query"},
"operations":{
	"Get":{"name":"Get","http":{"method":"GET","requestUri":"/"},"input":{"shape":"GetInput"},"errors":[{"shape":"Gone"}]},
	"Watch":{"name":"Watch","http":{"method":"GET","requestUri":"/w"},"output":{"shape":"WatchOutput"}},
	"Lost":{"name":"Lost","http":{"method":"GET","requestUri":"/l"},"input":{"shape":"Nowhere"}}},
"shapes":{
	"GetInput":{"type":"structure","required":["Names"],"payload":"Body","members":{
		"Names":{"shape":"Names","location":"querystring","locationName":"n"},"Body":{"shape":"Tree"}}},
	"Names":{"type":"list","flattened":true,"member":{"shape":"Time","locationName":"item"}},
	"Time":{"type":"timestamp","timestampFormat":"iso8601"},
	"Tree":{"type":"structure","members":{"Left":{"shape":"Tree"}}},
	"Gone":{"type":"structure","members":{"message":{"shape":"S"}},"exception":true,"error":{"code":"It.Is.Gone","httpStatusCode":410,"senderFault":true}},
	"Broken":{"type":"structure","members":{},"exception":true,"fault":true},
	"WatchOutput":{"type":"structure","members":{"Events":{"shape":"Events"}}},
	"Events":{"type":"structure","members":{},"eventstream":true},
	"S":{"type":"string"}}}`

func read(t *testing.T) *botocore.Model {
	t.Helper()
	var m botocore.Model
	if err := json.Unmarshal([]byte(model), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestTrimKeepsWhatItsOperationsReach(t *testing.T) {
	m, err := read(t).Trim([]string{"Get"})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(m.Shapes))
	if want := []string{"GetInput", "Gone", "Names", "S", "Time", "Tree"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTrimNamesWhatIsMissing(t *testing.T) {
	for op, want := range map[string]string{"Other": "no operation Other", "Lost": "no shape Nowhere"} {
		if _, err := read(t).Trim([]string{op}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestShapeCarriesTheTraitsOfReferenceAndTarget(t *testing.T) {
	s, err := read(t).WireShape("GetInput")
	if err != nil {
		t.Fatal(err)
	}
	body, names := s.Members[0], s.Members[1]
	if body.Loc != wire.InPayload || body.Type != wire.TypeStructure {
		t.Errorf("body: %+v", body)
	}
	if names.Loc != wire.InQuery || names.WireName() != "n" || !names.Flat || !names.Required {
		t.Errorf("names: %+v", names)
	}
	if names.Elem.Type != wire.TypeTimestamp || names.Elem.Time != wire.TimeISO || names.Elem.Wire != "item" {
		t.Errorf("element of names: %+v", names.Elem)
	}
}

func TestEventStreamIsTheWholeBody(t *testing.T) {
	s, err := read(t).WireShape("WatchOutput")
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Members[0]; m.Type != wire.TypeEvents {
		t.Errorf("the stream is %+v", m)
	}
}

func TestErrorsHaveTheirCodesAndStatuses(t *testing.T) {
	table := read(t).WireErrors()
	if got, want := table["It.Is.Gone"], (wire.ErrorInfo{Status: 410, Message: "message", Sender: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := table["Broken"], (wire.ErrorInfo{Status: 500}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

// everything is a model whose one structure has members of all types.
func everything(t testing.TB) *botocore.Model {
	t.Helper()
	var m botocore.Model
	err := json.Unmarshal([]byte(`{"metadata":{"protocol":"json"},"shapes":{
		"All":{"type":"structure","members":{
			"s":{"shape":"S"},"b":{"shape":"B"},"i":{"shape":"I"},"l":{"shape":"L"},"f":{"shape":"F"},"d":{"shape":"D"},
			"blob":{"shape":"Blob"},"t":{"shape":"T"},"list":{"shape":"List"},"flat":{"shape":"List","flattened":true},
			"map":{"shape":"Map"},"flatMap":{"shape":"Map","flattened":true},"self":{"shape":"All"},"attr":{"shape":"S","xmlAttribute":true}}},
		"S":{"type":"string"},"B":{"type":"boolean"},"I":{"type":"integer"},"L":{"type":"long"},"F":{"type":"float"},"D":{"type":"double"},
		"Blob":{"type":"blob"},"T":{"type":"timestamp"},"List":{"type":"list","member":{"shape":"All"}},
		"Map":{"type":"map","key":{"shape":"S"},"value":{"shape":"List"}}}}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	return &m
}

// wireError fails the test if err is not one that a caller can be told.
func wireError(t *testing.T, err error) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != "SerializationException" {
		t.Fatalf("%T: %v", err, err)
	}
}

func FuzzJSONIsRefusedOrSurvivesARoundTrip(f *testing.F) {
	f.Add([]byte(`{"s":"\u00e9\n","b":true,"i":-1,"l":9007199254740993,"f":1.5,"d":"NaN","blob":"AAE=","t":1.25,"list":[{"s":""},{}],"map":{"k":[{"self":{"i":3e0}}]},"other":[null,{"x":[]}]}`))
	f.Add([]byte(`{"s":null} x`))
	f.Add([]byte(`{"i":1.5}`))
	f.Add([]byte(`{"t":"2015-01-01T00:00:00Z","self":{"self":{"self":{}}}}`))
	f.Add([]byte(strings.Repeat(`{"self":`, 200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := everything(t)
		first := newRecord(m, "All")
		if err := wire.DecodeJSON(b, first); err != nil {
			wireError(t, err)
			return
		}
		if !json.Valid(b) {
			t.Fatalf("took %q, which is not JSON", b)
		}
		out, err := wire.EncodeJSON(first)
		if err != nil {
			t.Fatal(err)
		}
		second := newRecord(m, "All")
		if err := wire.DecodeJSON(out, second); err != nil {
			t.Fatalf("own output %s: %v", out, err)
		}
		if a, b := plain(first, false), plain(second, false); !reflect.DeepEqual(a, b) {
			t.Errorf("%s became %s", show(a), show(b))
		}
	})
}

func FuzzXMLIsRefusedOrSurvivesARoundTrip(f *testing.F) {
	f.Add([]byte(`<Root attr="a"><s>x &amp; y</s><b>true</b><i>1</i><f>NaN</f><blob>AAE=</blob><t>2015-01-01T00:00:00Z</t><list><member><s/></member></list><flat/><map><entry><key>k</key><value/></entry></map><flatMap><key>k</key><value/></flatMap></Root>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><Root>&a;</Root>`))
	f.Add([]byte(`<Root><self></Root></self>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := everything(t)
		first := newRecord(m, "All")
		if err := wire.DecodeXML(b, first); err != nil {
			wireError(t, err)
			return
		}
		out := wire.EncodeXML(first)
		second := newRecord(m, "All")
		if err := wire.DecodeXML(out, second); err != nil {
			t.Fatalf("own output %s: %v", out, err)
		}
		if a, b := plain(first, false), plain(second, false); !reflect.DeepEqual(a, b) {
			t.Errorf("%s became %s by %s", show(a), show(b), out)
		}
	})
}

func FuzzFormIsRefusedOrDecoded(f *testing.F) {
	f.Add("s=x&i=1&list.member.1.s=a&list.member.2.self.i=2&map.entry.1.key=k&map.entry.1.value.member.1.s=v&flat.1.s=x&flatMap.1.key=a")
	f.Add("list.member.x=1&a.b.c.d.e=1&.=&..=1")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		if err := wire.DecodeForm(form, newRecord(everything(t), "All")); err != nil {
			wireError(t, err)
		}
	})
}

func FuzzSignatureIsRefusedOrHasAWholeScope(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64), "20150830T123600Z", "")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fs%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Expires=60")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature=", "Mon, 02 Jan 2006 15:04:05 GMT", "X-Amz-Signature=")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := &http.Request{Header: http.Header{}, URL: &url.URL{Path: "/", RawQuery: query}}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.Header.Set("X-Amz-Date", date)
		scope, ok := wire.ParseSignature(r)
		parts := strings.Split(scope, "/")
		if ok && (len(parts) != 5 || parts[0] == "" || parts[1] == "" || parts[2] == "" || parts[3] == "" || parts[4] != "aws4_request") {
			t.Errorf("took the scope %q", scope)
		}
	})
}

func FuzzRequestsThatAreNotSignedNeverReachAHandler(f *testing.F) {
	f.Add("POST", "/2015-03-31/functions/f/invocations?a=%zz", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00", "{}")
	m := newMux(lambdaService(f, func(string, *record) (map[string]any, error) {
		panic("a handler was called")
	}))
	f.Fuzz(func(t *testing.T, method, target, authorization, body string) {
		path, query, _ := strings.Cut(target, "?")
		r := &http.Request{
			Method: method, Host: "node", RequestURI: target, URL: &url.URL{Path: path, RawQuery: query},
			Header: http.Header{"Authorization": {authorization}}, Body: http.NoBody, ContentLength: int64(len(body)),
		}
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
}

func FuzzChunksAreRefusedOrRead(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"))
	f.Add([]byte("ffffffffffffffff;chunk-signature=00\r\n"))
	f.Add([]byte("0\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := wire.ReadChunks(b)
		if err == nil && !bytes.Contains(b, got) && bytes.Count(b, []byte("\n")) < 4 {
			t.Errorf("%q holds no %q", b, got)
		}
	})
}

func FuzzHeaderListNeverHangs(f *testing.F) {
	f.Add(`a, "b,c" , "d\"e", , "unclosed`)
	f.Fuzz(func(t *testing.T, v string) {
		if n := len(wire.SplitHeaderList(v)); n > len(v)+1 {
			t.Errorf("%d items of %q", n, v)
		}
	})
}

package emf

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-dev/mayfly/internal/metrics"
)

func TestDocumentsGiveSamples(t *testing.T) {
	document := func(directives, rest string) string {
		return `{"_aws":{"Timestamp":1574109732004,"CloudWatchMetrics":[` + directives + `]},` + rest + `}`
	}
	const shop = `{"Namespace":"Shop","Dimensions":[["Service"]],"Metrics":[{"Name":"time","Unit":"Milliseconds"}]}`
	for name, c := range map[string]struct {
		line string
		want string // samples, one a line
		err  string // that it names
	}{
		"a number":                {document(shop, `"Service":"pay","time":100,"requestId":"989"`), "Shop time Milliseconds map[Service:pay] [100]", ""},
		"several numbers":         {document(shop, `"Service":"pay","time":[1,2.5,-3]`), "Shop time Milliseconds map[Service:pay] [1 2.5 -3]", ""},
		"a logger's words before": {"2026-11-30T01:00:00Z\tINFO\t" + document(shop, `"Service":"pay","time":1`), "Shop time Milliseconds map[Service:pay] [1]", ""},
		"sets of dimensions": {document(`{"Namespace":"N","Dimensions":[["a"],["a","b"],[]],"Metrics":[{"Name":"m"}]}`, `"a":"1","b":"2","m":7`),
			"N m None map[a:1] [7]\nN m None map[a:1 b:2] [7]\nN m None map[] [7]", ""},
		"no dimensions": {document(`{"Namespace":"N","Metrics":[{"Name":"m","Unit":"Count"}]}`, `"m":7`), "N m Count map[] [7]", ""},
		"two directives": {document(`{"Namespace":"N","Metrics":[{"Name":"m"}]},{"Namespace":"O","Metrics":[{"Name":"m","Unit":"Gigabits/Second"}]}`, `"m":7`),
			"N m None map[] [7]\nO m Gigabits/Second map[] [7]", ""},
		"one metric of two is good": {document(`{"Namespace":"N","Metrics":[{"Name":"bad"},{"Name":"m"}]}`, `"bad":"text","m":7`), "N m None map[] [7]", `"bad"`},
		"no metric's value":         {document(shop, `"Service":"pay"`), "", `"time"`},
		"no dimension's value":      {document(shop, `"time":1`), "", `"Service"`},
		"a null among numbers":      {document(shop, `"Service":"pay","time":[1,null]`), "", "null"},
		"a null":                    {document(shop, `"Service":"pay","time":null`), "", `"time"`},
		"a number beyond all":       {document(shop, `"Service":"pay","time":1e999`), "", `"time"`},
		"an unknown unit":           {document(`{"Namespace":"N","Metrics":[{"Name":"m","Unit":"Furlongs"}]}`, `"m":7`), "", "Furlongs"},
		"no namespace":              {document(`{"Metrics":[{"Name":"m"}]}`, `"m":7`), "", "Namespace"},
		"too many values":           {document(shop, `"Service":"pay","time":[`+strings.Repeat("1,", 100)+`1]`), "", "at most 100"},
		"too many dimensions":       {document(`{"Namespace":"N","Dimensions":[["a"`+strings.Repeat(`,"a"`, 30)+`]],"Metrics":[{"Name":"m"}]}`, `"a":"1","m":7`), "", "limit of 30"},
		"a long name":               {document(`{"Namespace":"N","Metrics":[{"Name":"`+strings.Repeat("m", 256)+`"}]}`, `"m":7`), "", "255"},
		"metadata of another shape": {`{"_aws":{"CloudWatchMetrics":"x"}}`, "", "CloudWatchMetrics can't be a string"},
		"cut off":                   {document(shop, `"Service":"pay","time":1`)[:80], "", "JSON"},
		"plain JSON":                {`{"level":"INFO","time":1}`, "", errNone.Error()},
		"plain text":                {`time is 1`, "", errNone.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			samples, err := parse(c.line)
			var got []string
			for _, s := range samples {
				got = append(got, fmt.Sprint(s.Namespace, " ", s.Name, " ", s.Unit, " ", s.Dimensions, " ", s.Values))
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("samples %q, want %q", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want one with %q", err, c.err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"_aws":{"CloudWatchMetrics":[{"Namespace":"N","Dimensions":[["a"]],"Metrics":[{"Name":"m","Unit":"Count"}]}]},"a":"b","m":[1,2]}`)
	f.Add(`INFO {"_aws":{"CloudWatchMetrics":[{}]}}`)
	f.Add(`{"_aws":null}`)
	f.Fuzz(func(t *testing.T, line string) {
		m := metrics.New("fuzz")
		samples, _ := parse(line)
		values := 0
		for _, s := range samples {
			if values += len(s.Values); s.Namespace == "" || s.Name == "" || !units[s.Unit] {
				t.Errorf("sample %+v", s)
			}
			m.Report(s)
		}
		if values > maxObserved || len(samples) > maxSamples {
			t.Errorf("%d values in %d samples of one line", values, len(samples))
		}
		if _, err := m.Gatherer().Gather(); err != nil {
			t.Error(err)
		}
	})
}

// scrape returns what the metrics say, as text.
func scrape(m *metrics.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestReaderNeverHoldsUpALog(t *testing.T) {
	m := metrics.New("v1")
	r := New(m)
	const good = `{"_aws":{"CloudWatchMetrics":[{"Namespace":"N","Metrics":[{"Name":"m"}]}]},"m":1}`
	for range queueLines + 5 { // while nobody reads
		r.Line("f", good)
	}
	r.Line("f", "no metrics in this one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, func(_, text string) { t.Error(text) }); err != nil {
		t.Fatal(err)
	}
	got := scrape(m)
	for _, want := range []string{
		fmt.Sprintf(`mayfly_function_metric_count{function="f",metric="m",namespace="N",unit="None"} %d`, queueLines),
		`mayfly_function_metric_left_out_total{function="f",reason="busy"} 5`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if n := r.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted as waiting", n)
	}
}

func TestFaultsAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New("v1")
		r := New(m)
		notes := make(chan string, 10)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx, func(function, text string) { notes <- function + ": " + text }) }()
		const bad = `{"_aws":{"CloudWatchMetrics":[{"Namespace":"N","Metrics":[{"Name":"m"}]}]}}`
		for range 3 {
			r.Line("f", bad)
		}
		r.Line("g", bad)
		synctest.Wait()
		if len(notes) != 2 {
			t.Errorf("%d notes, want one each", len(notes))
		}
		if note := <-notes; !strings.HasPrefix(note, "f: ") || !strings.Contains(note, `"m"`) {
			t.Errorf("note %q", note)
		}
		time.Sleep(noteEvery)
		r.Line("f", bad)
		synctest.Wait()
		if len(notes) != 2 {
			t.Errorf("a minute later there is no further note")
		}
		if want := `mayfly_function_metric_left_out_total{function="f",reason="invalid"} 4`; !strings.Contains(scrape(m), want) {
			t.Errorf("the metrics have no %s", want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// What pages read of the admin door's answers. The door may say more.

type nodeAnswer struct {
	Version       string     `json:"version"`
	Endpoint      string     `json:"endpoint"`
	DataDir       string     `json:"dataDir"`
	Region        string     `json:"region"`
	Account       string     `json:"account"`
	Driver        string     `json:"driver"`
	Started       time.Time  `json:"started"`
	MemoryMB      int        `json:"memoryMB"`
	UptimeSeconds int64      `json:"uptimeSeconds"`
	Warnings      []string   `json:"warnings"`
	Instances     []instance `json:"instances"`
	Runtimes      []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Path    string `json:"path"`
	} `json:"runtimes"`
}

// Uptime is how long the node has run.
func (n nodeAnswer) Uptime() time.Duration { return time.Duration(n.UptimeSeconds) * time.Second }

// Busy counts the instances that run a call now.
func (n nodeAnswer) Busy() (busy int) {
	for _, i := range n.Instances {
		if i.State == "busy" {
			busy++
		}
	}
	return busy
}

// MemoryBytes is what all instances use together.
func (n nodeAnswer) MemoryBytes() (total int64) {
	for _, i := range n.Instances {
		total += i.MemoryBytes
	}
	return total
}

type instance struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	Version     string    `json:"version"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	MemoryMB    int       `json:"memoryMB"`
	MemoryBytes int64     `json:"memoryBytes"`
}

// record is one call of a function.
type record struct {
	RequestID string        `json:"id"`
	Attempt   int           `json:"attempt"`
	Function  string        `json:"fn"`
	Version   string        `json:"v"`
	Alias     string        `json:"alias"`
	Start     time.Time     `json:"start"`
	Duration  time.Duration `json:"dur"`
	Init      time.Duration `json:"init"`
	Billed    time.Duration `json:"billed"`
	MemoryMB  int           `json:"mb"`
	PeakBytes int64         `json:"peak"`
	Outcome   string        `json:"outcome"`
	ErrorType string        `json:"err"`
	Age       time.Duration `json:"age"`
	Instance  string        `json:"inst"`
	Trace     string        `json:"trace"`
	Span      string        `json:"span"`
	Cost      string        `json:"cost"`
	Phases    struct {
		Queue   time.Duration `json:"queue"`
		Sandbox time.Duration `json:"sandbox"`
		Restore time.Duration `json:"restore"`
		Init    time.Duration `json:"init"`
	} `json:"phases"`
}

// Cold is how long the call waited for its instance to come up; 0 if it was warm.
func (r record) Cold() time.Duration { return r.Phases.Sandbox + r.Phases.Restore + r.Phases.Init }

// Short is the beginning of the request id.
func (r record) Short() string { return r.RequestID[:min(8, len(r.RequestID))] }

// usage is what calls add up to.
type usage struct {
	Key          string        `json:"key"`
	Requests     int64         `json:"requests"`
	Errors       int64         `json:"errors"`
	ColdStarts   int64         `json:"coldStarts"`
	Duration     time.Duration `json:"durationNs"`
	Billed       time.Duration `json:"billedNs"`
	GBSeconds    string        `json:"gbSeconds"`
	RequestCost  string        `json:"requestCost"`
	DurationCost string        `json:"durationCost"`
	StorageCost  string        `json:"storageCost"`
	KeptCost     string        `json:"provisionedCost"`
	Cost         string        `json:"cost"`
}

// Mean is how long a call took.
func (u usage) Mean() time.Duration {
	if u.Requests == 0 {
		return 0
	}
	return u.Duration / time.Duration(u.Requests)
}

type bill struct {
	Lines    []usage `json:"lines"`
	Total    usage   `json:"total"`
	AlwaysOn string  `json:"alwaysOnCost"`
}

func (k *call) node() (n nodeAnswer, err error) {
	err = k.api.Admin(k.ctx(), http.MethodGet, "node", nil, nil, &n)
	return n, err
}

// bill adds up usage by the grouping since a time; a zero time means from the
// beginning.
func (k *call) bill(by, function string, since time.Time) (b bill, err error) {
	q := url.Values{"by": {by}}
	if function != "" {
		q.Set("function", function)
	}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	err = k.api.Admin(k.ctx(), http.MethodGet, "usage", q, nil, &b)
	return b, err
}

// records returns the latest calls, the newest first.
func (k *call) records(function string, limit int, failed bool) ([]record, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if function != "" {
		q.Set("function", function)
	}
	if failed {
		q.Set("failed", "true")
	}
	var answer recordsAnswer
	if err := k.api.Admin(k.ctx(), http.MethodGet, "records", q, nil, &answer); err != nil {
		return nil, err
	}
	slices.Reverse(answer.Records)
	return answer.Records, nil
}

type recordsAnswer struct {
	Records []record `json:"records"`
}

// chart is what console.js draws.
type chart struct {
	Labels []string    `json:"labels"`
	Series [][]float64 `json:"series"` // the first holds times, in Unix seconds
	Bars   bool        `json:"bars"`
	Unit   string      `json:"unit,omitempty"`
}

// overTime makes a chart of usage by hour or minute: from since to now, one point
// a step, zero where nothing ran.
func overTime(lines []usage, layout string, since, now time.Time, step time.Duration, labels []string, values func(usage) []float64) chart {
	at := map[string]usage{}
	for _, u := range lines {
		at[u.Key] = u
	}
	c := chart{Labels: labels, Series: make([][]float64, len(labels)+1), Bars: true}
	for t := since.UTC().Truncate(step); !t.After(now); t = t.Add(step) {
		c.Series[0] = append(c.Series[0], float64(t.Unix()))
		for n, v := range values(at[t.Format(layout)]) {
			c.Series[n+1] = append(c.Series[n+1], v)
		}
	}
	return c
}

// The keys of usage by hour and by minute.
const (
	hourLayout   = "2006-01-02T15:00Z"
	minuteLayout = "2006-01-02T15:04Z"
)

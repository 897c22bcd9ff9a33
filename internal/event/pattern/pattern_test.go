package pattern

import (
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const instanceStopped = `{
	"version": "0", "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "source": "aws.ec2",
	"detail-type": "EC2 Instance State-change Notification", "account": "111122223333",
	"time": "2017-12-22T18:43:48Z", "region": "us-west-1",
	"resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
	"detail": {
		"instance-id": "i-1234567890abcdef0", "state": "terminated", "source-ip": "10.0.0.33",
		"c-count": 5, "d-count": 300, "x-limit": 301.8, "exponent": 3.0e2, "nothing": null, "empty": "", "flag": true,
		"tags": ["a", "b"], "none": [], "path": "dir/a*b/file.PNG",
		"people": [{"first": "Anna", "last": "Smith"}, {"first": "Bo", "last": "Jones", "ages": [[7], [8, 9]]}]
	}
}`

func TestMatch(t *testing.T) {
	tests := []struct {
		name, pattern string
		want          bool
	}{
		{"fields that are not named are ignored", `{"source": ["aws.ec2"]}`, true},
		{"one of the values", `{"source": ["aws.s3", "aws.ec2"]}`, true},
		{"none of the values", `{"source": ["aws.s3"]}`, false},
		{"every field must match", `{"source": ["aws.ec2"], "region": ["eu-west-1"]}`, false},
		{"nested", `{"detail": {"state": ["terminated"]}}`, true},
		{"a field that is missing", `{"detail": {"nowhere": ["x"]}}`, false},
		{"nested where there is a value", `{"source": {"x": ["y"]}}`, false},
		{"a value where there is an object", `{"detail": ["x"]}`, false},
		{"exact is not a prefix", `{"source": ["aws"]}`, false},
		{"null", `{"detail": {"nothing": [null]}}`, true},
		{"null is not an empty text", `{"detail": {"nothing": [""]}}`, false},
		{"empty text", `{"detail": {"empty": [""]}}`, true},
		{"bool", `{"detail": {"flag": [true]}}`, true},
		{"bool is not its text", `{"detail": {"flag": ["true"]}}`, false},
		{"number", `{"detail": {"d-count": [300]}}`, true},
		{"numbers are compared as they are spelled", `{"detail": {"d-count": [300.0]}}`, false},
		{"number is not its text", `{"detail": {"d-count": ["300"]}}`, false},

		{"list holds it", `{"detail": {"tags": ["b", "z"]}}`, true},
		{"list does not hold it", `{"detail": {"tags": ["z"]}}`, false},
		{"lists within lists", `{"detail": {"people": {"ages": [9]}}}`, true},
		{"one object of a list as a whole", `{"detail": {"people": {"first": ["Bo"], "last": ["Jones"]}}}`, true},
		{"not two objects of a list together", `{"detail": {"people": {"first": ["Anna"], "last": ["Jones"]}}}`, false},

		{"prefix", `{"time": [{"prefix": "2017-12-"}]}`, true},
		{"prefix of nothing", `{"time": [{"prefix": "2018-"}]}`, false},
		{"prefix in any case", `{"detail-type": [{"prefix": {"equals-ignore-case": "ec2 inst"}}]}`, true},
		{"prefix looks at texts", `{"detail": {"d-count": [{"prefix": "3"}]}}`, false},
		{"suffix", `{"detail": {"path": [{"suffix": ".PNG"}]}}`, true},
		{"suffix of another case", `{"detail": {"path": [{"suffix": ".png"}]}}`, false},
		{"suffix in any case", `{"detail": {"path": [{"suffix": {"equals-ignore-case": ".png"}}]}}`, true},
		{"equals in any case", `{"detail": {"state": [{"equals-ignore-case": "TERMINATED"}]}}`, true},
		{"equals in any case is all of it", `{"detail": {"state": [{"equals-ignore-case": "TERM"}]}}`, false},

		{"wildcard", `{"detail": {"path": [{"wildcard": "dir/*.PNG"}]}}`, true},
		{"wildcard must reach the end", `{"detail": {"path": [{"wildcard": "dir/*file"}]}}`, false},
		{"wildcard with an escaped star", `{"detail": {"path": [{"wildcard": "*a\\*b*"}]}}`, true},
		{"wildcard without a star is exact", `{"source": [{"wildcard": "aws.ec2"}]}`, true},
		{"wildcard for nothing", `{"source": [{"wildcard": "*aws.*ec2*"}]}`, true},
		{"wildcard parts don't overlap", `{"source": [{"wildcard": "aws.ec*ec2"}]}`, false},

		{"anything but", `{"detail": {"state": [{"anything-but": "initializing"}]}}`, true},
		{"anything but it", `{"detail": {"state": [{"anything-but": "terminated"}]}}`, false},
		{"anything but a list", `{"detail": {"state": [{"anything-but": ["stopped", "terminated"]}]}}`, false},
		{"anything but a number", `{"detail": {"x-limit": [{"anything-but": 123}]}}`, true},
		{"anything but a number, however spelled", `{"detail": {"exponent": [{"anything-but": [100, 300]}]}}`, false},
		{"anything but a prefix", `{"region": [{"anything-but": {"prefix": "us-"}}]}`, false},
		{"anything but a list of prefixes", `{"region": [{"anything-but": {"prefix": ["eu-", "us-"]}}]}`, false},
		{"anything but a suffix", `{"detail": {"path": [{"anything-but": {"suffix": [".png", ".jpg"]}}]}}`, true},
		{"anything but in any case", `{"detail": {"state": [{"anything-but": {"equals-ignore-case": ["Terminated"]}}]}}`, false},
		{"anything but a wildcard", `{"detail": {"path": [{"anything-but": {"wildcard": ["*/lib/*", "dir/*"]}}]}}`, false},
		{"anything but needs a value", `{"detail": {"nowhere": [{"anything-but": "x"}]}}`, false},
		{"anything but, of a list one", `{"detail": {"tags": [{"anything-but": "a"}]}}`, true},

		{"in a range", `{"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}]}}`, true},
		{"at an open end", `{"detail": {"c-count": [{"numeric": [">", 5, "<", 10]}]}}`, false},
		{"at least", `{"detail": {"x-limit": [{"numeric": [">=", 301.8]}]}}`, true},
		{"less", `{"detail": {"d-count": [{"numeric": ["<", 10]}]}}`, false},
		{"equal numbers, however spelled", `{"detail": {"exponent": [{"numeric": ["=", 300]}]}}`, true},
		{"numeric looks at numbers", `{"account": [{"numeric": [">", 0]}]}`, false},

		{"exists", `{"detail": {"state": [{"exists": true}]}}`, true},
		{"exists with null", `{"detail": {"nothing": [{"exists": true}]}}`, true},
		{"exists not", `{"detail": {"c-count": [{"exists": false}]}}`, false},
		{"missing", `{"detail": {"nowhere": [{"exists": false}]}}`, true},
		{"missing with its parent", `{"nowhere": {"a": {"b": [{"exists": false}]}}}`, true},
		{"missing or a value", `{"detail": {"state": [{"exists": false}, "terminated"]}}`, true},
		{"an empty list has no value", `{"detail": {"none": [{"exists": false}]}}`, true},
		{"an object is not a leaf", `{"detail": [{"exists": true}]}`, false},

		{"address in a block", `{"detail": {"source-ip": [{"cidr": "10.0.0.0/24"}]}}`, true},
		{"address elsewhere", `{"detail": {"source-ip": [{"cidr": "10.0.1.0/24"}]}}`, false},
		{"no address", `{"detail": {"state": [{"cidr": "10.0.0.0/8"}]}}`, false},
		{"address of another family", `{"detail": {"source-ip": [{"cidr": "2001:db8::/32"}]}}`, false},

		{"or", `{"detail": {"$or": [{"c-count": [{"numeric": [">", 7]}]}, {"d-count": [{"numeric": [">", 100]}]}]}}`, true},
		{"or with nothing", `{"detail": {"$or": [{"c-count": [6]}, {"x-limit": [{"anything-but": 301.8}]}]}}`, false},
		{"or at the top, beside a field", `{"source": ["aws.ec2"], "$or": [{"region": ["eu"]}, {"detail": {"flag": [true]}}]}`, true},
		{"or within or", `{"$or": [{"source": ["x"]}, {"$or": [{"source": ["y"]}, {"source": ["aws.ec2"]}]}]}`, true},
		{"or does not lift other fields", `{"source": ["x"], "$or": [{"region": ["us-west-1"]}, {"account": ["1"]}]}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Compile([]byte(tt.pattern))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match([]byte(instanceStopped)); got != tt.want {
				t.Errorf("%s matches: %v, want %v", tt.pattern, got, tt.want)
			}
		})
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	tests := map[string]string{ // pattern: words of the error
		``:                                            "not JSON",
		`{"a": ["b"]} x`:                              "not JSON",
		`["a"]`:                                       "not an object",
		`{}`:                                          "the pattern is empty",
		`{"a": {}}`:                                   `"a" is empty`,
		`{"a": []}`:                                   `"a" is an empty list`,
		`{"a": "b"}`:                                  `"a" must be an object or a list of what is wanted: ["b"]`,
		`{"a": {"b": 1}}`:                             `"a.b" must be`,
		`{"a": [["b"]]}`:                              "a list within its list",
		`{"a": [{"like": "b"}]}`:                      `there is no operator "like"`,
		`{"a": [{}]}`:                                 "one member, not 0",
		`{"a": [{"prefix": 1}]}`:                      "prefix takes a string, not 1",
		`{"a": [{"suffix": {"x": ""}}]}`:              "suffix takes a string or",
		`{"a": [{"exists": "yes"}]}`:                  "exists takes true or false",
		`{"a": [{"cidr": "10.0.0"}]}`:                 "cidr takes an address block",
		`{"a": [{"cidr": 10}]}`:                       "cidr takes a string",
		`{"a": [{"wildcard": "a**"}]}`:                "two * in a row at byte 2",
		`{"a": [{"wildcard": "**"}]}`:                 "two * in a row at byte 1",
		`{"a": [{"wildcard": "\\a"}]}`:                "a backslash at byte 0",
		`{"a": [{"wildcard": "a\\"}]}`:                "a backslash at byte 1",
		`{"a": [{"numeric": []}]}`:                    "numeric takes a list",
		`{"a": [{"numeric": ["!", 1]}]}`:              "numeric compares with =",
		`{"a": [{"numeric": ["<", "1"]}]}`:            "numeric compares with numbers",
		`{"a": [{"numeric": ["<", 6e9]}]}`:            "from -5.0e9 to 5.0e9",
		`{"a": [{"numeric": ["<", 1, ">", 0]}]}`:      "the lower bound first",
		`{"a": [{"numeric": [">", 1, "<", 1]}]}`:      "no number between 1 and 1",
		`{"a": [{"anything-but": []}]}`:               "an empty list",
		`{"a": [{"anything-but": true}]}`:             "anything-but takes strings",
		`{"a": [{"anything-but": {"cidr": "::/0"}}]}`: "anything-but takes prefix",
		`{"a": [{"anything-but": {"prefix": 1}}]}`:    "takes a string",
		`{"$or": [{"a": ["b"]}]}`:                     `"$or" must be a list of at least two`,
		`{"a": {"$or": [{"b": ["c"]}, "d"]}}`:         `"a.$or" must hold patterns only`,
		`{"$or": [{"a": ["b"]}, {}]}`:                 "is empty",
	}
	for pattern, words := range tests {
		_, err := Compile([]byte(pattern))
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("Compile(%s) = %v, want invalid with %q", pattern, err, words)
		}
	}
}

func TestWhatIsNoObjectMatchesNothing(t *testing.T) {
	p, err := Compile([]byte(`{"a": [{"exists": false}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{``, `{`, `null`, `[]`, `"a"`, `{} {}`} {
		if p.Match([]byte(event)) {
			t.Errorf("%q matches", event)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"a": [{"prefix": "x"}, {"anything-but": {"wildcard": ["a*\\*", "*"]}}]}`), []byte(`{"a": ["xy", [1, {}]]}`))
	f.Add([]byte(`{"$or": [{"a": {"b": [{"numeric": [">", 0, "<", 1e3]}]}}, {"c": [{"cidr": "10.0.0.0/8"}]}]}`), []byte(instanceStopped))
	f.Fuzz(func(t *testing.T, pattern, event []byte) {
		p, err := Compile(pattern)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("%v is not invalid", err)
			}
			return
		}
		p.Match(event)
	})
}

// FuzzWildcard compares the matcher with a plain one.
func FuzzWildcard(f *testing.F) {
	f.Add("a*b*c", "aXbYc")
	f.Add(`*\**`, "x*y")
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 20 || len(s) > 20 {
			return
		}
		match, err := wildcard(text)
		if err != nil {
			return
		}
		if got, want := match(s), plain(text, s); got != want {
			t.Errorf("%q matches %q: %v, want %v", text, s, got, want)
		}
	})
}

func plain(text, s string) bool {
	switch {
	case text == "":
		return s == ""
	case text[0] == '*':
		return plain(text[1:], s) || s != "" && plain(text, s[1:])
	case text[0] == '\\':
		text = text[1:]
	}
	return s != "" && s[0] == text[0] && plain(text[1:], s[1:])
}

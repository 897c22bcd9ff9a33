package gvisor

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

func TestMarksAreFoundWhereverTheyLie(t *testing.T) {
	const mine, other = "the name of this instance", "its key"
	pages := make([]byte, 3<<20)
	for _, at := range []int{0, 1<<20 - 7, 1<<20 + 30, 2<<20 - len(mine), len(pages) - len(mine)} {
		copy(pages[at:], mine)
	}
	copy(pages[2<<20:], other)
	copy(pages[500:], mine[:len(mine)-1]) // is none
	want := []mark{
		{len(mine), []int64{0, 1<<20 - 7, 1<<20 + 30, 2<<20 - int64(len(mine)), int64(len(pages) - len(mine))}},
		{len(other), []int64{2 << 20}},
	}
	if got, err := findMarks(bytes.NewReader(pages), []string{mine, other}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, err := findMarks(iotest.HalfReader(bytes.NewReader(pages)), []string{mine, other}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("in pieces: %v, %v, want %v", got, err, want)
	}
	if got, err := findMarks(bytes.NewReader(pages), nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if _, err := findMarks(bytes.NewReader(pages), []string{mine, "k"}); err == nil {
		t.Error("a single byte is looked for")
	}
	if _, err := findMarks(iotest.ErrReader(bytes.ErrTooLarge), []string{mine}); err == nil {
		t.Error("pages that can't be read have marks")
	}
}

func bytesOf(texts []string) (all [][]byte) {
	for _, t := range texts {
		all = append(all, []byte(t))
	}
	return all
}

func TestOnlyValuesLikeTheSavedOnesTakeTheirPlaces(t *testing.T) {
	marks := []mark{{10, []int64{0, 90}}, {3, []int64{50}}}
	for _, tc := range []struct {
		own  []string
		size int64 // of the pages
		good bool
	}{
		{[]string{"aaaaaaaaaa", "bbb"}, 100, true},
		{[]string{"aaaaaaaaaa", "bbb"}, 99, false},
		{[]string{"aaaaaaaaaa"}, 100, false},
		{[]string{"aaaaaaaaaa", "bbbb"}, 100, false},
		{nil, 100, false},
	} {
		got, err := patchesOf(marks, bytesOf(tc.own), tc.size)
		if want := []patch{{0, []byte("aaaaaaaaaa")}, {90, []byte("aaaaaaaaaa")}, {50, []byte("bbb")}}; tc.good != (err == nil) || tc.good && !reflect.DeepEqual(got, want) {
			t.Errorf("%q in %d bytes: %v, %v", tc.own, tc.size, got, err)
		}
	}
	if _, err := patchesOf([]mark{{1, []int64{-1}}}, bytesOf([]string{"a"}), 100); err == nil {
		t.Error("a value lies before the pages")
	}
}

func TestCopiesKnowTheirOwnNames(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	spec := images.Spec()
	spec.Own = []string{"SECRET=a b=c"} // of the probe's environment
	p := sandboxtest.Start(t, d, spec)
	p.Must("self", nil)
	path := p.Save()
	for _, own := range []string{"SECRET=first", "SECRET=secon"} {
		spec = images.Spec()
		spec.Own = []string{own}
		if got := string(sandboxtest.Restore(t, d, spec, path).Must("self", nil)); !strings.Contains(got, own) || strings.Contains(got, "a b=c") {
			t.Errorf("a copy that is %q has the environment %s", own, got)
		}
	}
}

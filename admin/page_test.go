package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func paged(t *testing.T, query string) (page, error) {
	t.Helper()
	c := &call{r: httptest.NewRequest(http.MethodGet, "/?"+query, nil)}
	return c.page("id", "name")
}

func TestPagesTogetherAreTheList(t *testing.T) {
	var items []string
	for i := range 25 {
		items = append(items, fmt.Sprintf("%02d", i*7%25))
	}
	for _, order := range []string{"id", "-id", "name"} {
		var got []string
		after := ""
		for range 10 {
			p, err := paged(t, "limit=4&sort="+order+"&after="+url.QueryEscape(after))
			if err != nil {
				t.Fatal(err)
			}
			l := cut(items, p, func(s string) []string { return []string{s, s} })
			got = append(got, l.Items...)
			if after = l.Next; after == "" {
				break
			}
		}
		want := slices.Sorted(slices.Values(items))
		if order == "-id" {
			slices.Reverse(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %s: %v", order, got)
		}
	}
}

func TestWrongPagesSayWhichParameterIsWrong(t *testing.T) {
	p, _ := paged(t, "sort=name")
	elsewhere := p.next("x", "y")
	for query, parameter := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=x": "limit", "limit=99999999999999999999": "limit",
		"sort=color": "sort", "sort=--id": "sort", "sort=id;drop%20table": "sort", "after=%21": "after", "after=bm9uZQ": "after", "after=" + elsewhere: "after",
	} {
		_, err := paged(t, strings.ReplaceAll(query, ";", "%3B"))
		r, ok := err.(*Refusal) //nolint:errorlint // as the helper returns it
		if !ok || len(r.Faults) != 1 || r.Faults[0].Parameter != parameter {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("WyJpZCIsImEiXQ")
	f.Fuzz(func(t *testing.T, text string) {
		if values, ok := parseCursor(text, "id"); ok && len(values) == 0 {
			t.Error("a cursor without values")
		}
	})
}

func TestIfMatchTakesOneOfItsOwnTags(t *testing.T) {
	for header, want := range map[string]int64{"": unsaid, "*": anyRevision, `"7"`: 7} {
		c := &call{r: httptest.NewRequest(http.MethodGet, "/", nil)}
		if header != "" {
			c.r.Header.Set("If-Match", header)
		}
		if got, err := c.ifMatch(); err != nil || got != want {
			t.Errorf("%q: %d %v", header, got, err)
		}
	}
	for _, header := range []string{`7`, `W/"7"`, `"x"`, `"0"`, `"-1"`, `"7","8"`} {
		c := &call{r: httptest.NewRequest(http.MethodGet, "/", nil)}
		c.r.Header.Set("If-Match", header)
		if _, err := c.ifMatch(); err == nil {
			t.Errorf("%q is taken", header)
		}
	}
}

package admin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is which part of a list is asked for: ?limit=100&sort=-created&after=CURSOR.
type page struct {
	limit      int
	sort       string // one of those that the list can be sorted by
	descending bool
	after      []string // values of the last item before the page: its sort key, then its id; nil: from the start
}

// page reads the parameters of a list. sorts are what it can be sorted by, the
// first one by default.
func (c *call) page(sorts ...string) (page, error) {
	p := page{limit: defaultPage, sort: sorts[0]}
	var faults []Fault
	fault := func(parameter, format string, args ...any) {
		faults = append(faults, Fault{Parameter: parameter, Detail: fmt.Sprintf(format, args...)})
	}
	if text := c.query("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			fault("limit", "is not a number from 1 to %d", maxPage)
		}
		p.limit = n
	}
	if text := c.query("sort"); text != "" {
		p.sort, p.descending = strings.CutPrefix(text, "-")
		if !slices.Contains(sorts, p.sort) {
			fault("sort", "is not one of %s, with or without a - in front", strings.Join(sorts, ", "))
		}
	}
	if text := c.query("after"); text != "" {
		var ok bool
		if p.after, ok = parseCursor(text, p.order()); !ok {
			fault("after", "is not the next of a page with this order")
		}
	}
	if len(faults) > 0 {
		return p, invalid(faults...)
	}
	return p, nil
}

func (p *page) order() string {
	if p.descending {
		return "-" + p.sort
	}
	return p.sort
}

// next is the cursor behind an item with these values.
func (p *page) next(values ...string) string {
	text, err := json.Marshal(append([]string{p.order()}, values...))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseCursor(text, order string) (values []string, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &values) != nil || len(values) < 2 || values[0] != order {
		return nil, false
	}
	return values[1:], true
}

// list is one page of an answer.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // the after of the next page; absent: this is the last
}

// cut makes the page of items that are all in memory. key gives an item's
// values: what it is sorted by, then its id.
func cut[T any](items []T, p page, key func(T) []string) list[T] {
	direction := 1
	if p.descending {
		direction = -1
	}
	compare := func(a, b []string) int { return slices.Compare(a, b) * direction }
	kept := make([]T, 0, min(len(items), p.limit))
	for _, it := range items {
		if p.after == nil || compare(key(it), p.after) > 0 {
			kept = append(kept, it)
		}
	}
	slices.SortFunc(kept, func(a, b T) int { return compare(key(a), key(b)) })
	out := list[T]{Items: kept}
	if len(kept) > p.limit {
		out.Items = kept[:p.limit]
		out.Next = p.next(key(kept[p.limit-1])...)
	}
	return out
}

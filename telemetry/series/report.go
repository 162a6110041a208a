package series

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Report is the traffic of a window, by series. Reports of several nodes merge.
type Report struct {
	Covered time.Duration // the window, or less when the node is younger
	Series  map[Key]*Point
}

// Report returns the traffic of the length d of time before now.
func (s *Store) Report(now time.Time, d time.Duration) *Report {
	r := &Report{Series: map[Key]*Point{}}
	s.mu.Lock()
	keys := make([]Key, 0, len(s.lines))
	for k := range s.lines {
		keys = append(keys, k)
	}
	r.Covered = s.coveredLocked(now, d)
	s.mu.Unlock()
	for _, k := range keys {
		p := new(Point)
		if s.Window(p, k, now, d); p.Requests() > 0 {
			r.Series[k] = p
		}
	}
	return r
}

// Merge adds what another node reports of the same window. The window covers
// what the node that has run longest knows.
func (r *Report) Merge(o *Report) {
	r.Covered = max(r.Covered, o.Covered)
	if r.Series == nil {
		r.Series = map[Key]*Point{}
	}
	for k, p := range o.Series {
		if have := r.Series[k]; have != nil {
			have.Merge(p)
		} else {
			r.Series[k] = p
		}
	}
}

// row is a series of a report as nodes tell it each other.
type row struct {
	Kind  string `json:"k"`
	Name  string `json:"n,omitempty"`
	Point []byte `json:"p"`
}

type wireReport struct {
	Covered time.Duration `json:"covered"`
	Rows    []row         `json:"rows"`
}

// MarshalJSON writes the points in their short form.
func (r *Report) MarshalJSON() ([]byte, error) {
	w := wireReport{Covered: r.Covered, Rows: make([]row, 0, len(r.Series))}
	for k, p := range r.Series {
		w.Rows = append(w.Rows, row{string(rune(k.Kind)), k.Name, p.Append(nil)})
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Report) UnmarshalJSON(text []byte) error {
	var w wireReport
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	*r = Report{Covered: w.Covered, Series: make(map[Key]*Point, len(w.Rows))}
	for _, row := range w.Rows {
		if len(row.Kind) != 1 {
			return fmt.Errorf("series: %q is no kind of series", row.Kind)
		}
		p := new(Point)
		if err := p.Add(row.Point); err != nil {
			return err
		}
		r.Series[Key{Kind(row.Kind[0]), row.Name}] = p
	}
	return nil
}

// MergeHistories adds up the steps of several nodes, oldest first. Steps of one
// start are one.
func MergeHistories(histories ...[]Step) (starts []int64, points []*Point, err error) {
	at := map[int64]*Point{}
	for _, steps := range histories {
		for _, s := range steps {
			p := at[s.Start]
			if p == nil {
				p = new(Point)
				at[s.Start] = p
				starts = append(starts, s.Start)
			}
			if err := p.Add(s.Point); err != nil {
				return nil, nil, err
			}
		}
	}
	slices.Sort(starts)
	for _, s := range starts {
		points = append(points, at[s])
	}
	return starts, points, nil
}

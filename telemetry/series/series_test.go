package series

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Invariant 1.
func TestQuantilesAreWithinASixteenth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() time.Duration{
		"uniform":     func() time.Duration { return Shortest + time.Duration(r.Int64N(int64(time.Second))) },
		"exponential": func() time.Duration { return Shortest + time.Duration(r.ExpFloat64()*float64(20*time.Millisecond)) },
		"two humps": func() time.Duration {
			if r.IntN(10) == 0 {
				return 3*time.Second + time.Duration(r.Int64N(int64(time.Second)))
			}
			return 200*time.Microsecond + time.Duration(r.Int64N(int64(50*time.Microsecond)))
		},
		"one value": func() time.Duration { return 123456789 },
		"powers":    func() time.Duration { return Shortest << r.IntN(octaves) },
	}
	for name, draw := range shapes {
		for _, n := range []int{1, 2, 10, 1000} {
			var s Sketch
			values := make([]time.Duration, n)
			for i := range values {
				values[i] = min(draw(), Longest-1)
				s[Index(values[i])]++
			}
			slices.Sort(values)
			for _, q := range []float64{0, .01, .5, .9, .95, .99, 1} {
				rank := max(0, min(n-1, int(q*float64(n)+.999999)-1))
				want, got := values[rank], s.Quantile(q)
				if diff := (got - want).Abs(); diff*16 > want+16 {
					t.Errorf("%s, %d values, quantile %v: %v, want %v within a sixteenth", name, n, q, got, want)
				}
			}
		}
	}
}

func TestBucketsAreInOrderAndWithoutGaps(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < 2*Longest; d += d/64 + 1 {
		i := Index(d)
		if i < last || i > last+1 && last >= 0 {
			t.Fatalf("%v is in bucket %d, the one before in %d", d, i, last)
		}
		last = i
	}
	if last != Buckets-1 {
		t.Errorf("the last bucket is %d, want %d", last, Buckets-1)
	}
	if Index(-time.Second) != 0 {
		t.Error("a negative duration is not in the first bucket")
	}
	for i := 1; i < Buckets-1; i++ {
		if Index(middle(i)) != i {
			t.Errorf("the middle of bucket %d, %v, is in %d", i, middle(i), Index(middle(i)))
		}
	}
}

func TestAboveCountsWhatIsLonger(t *testing.T) {
	var s Sketch
	if s.Above(time.Second) != 0 || s.Quantile(.99) != 0 {
		t.Error("an empty sketch has something")
	}
	for range 3 {
		s[Index(10*time.Millisecond)]++
	}
	s[Index(2*time.Second)]++
	if got := s.Above(time.Second); got != .25 {
		t.Errorf("above a second: %v, want 0.25", got)
	}
}

func randomPoint(r *rand.Rand) (p Point) {
	for _, c := range p.counters() {
		*c = uint64(r.IntN(1000))
	}
	for range r.IntN(50) {
		p.Latency[r.IntN(Buckets)] += r.Uint64N(1 << 40)
	}
	return p
}

// Invariant 2.
func TestMergingHasNoOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	points := make([]Point, 50)
	for i := range points {
		points[i] = randomPoint(r)
	}
	var forward, mixed Point
	for i := range points {
		forward.Merge(&points[i])
	}
	halves := [2]Point{}
	for _, i := range r.Perm(len(points)) {
		if err := halves[i%2].Add(points[i].Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	mixed.Merge(&halves[1])
	mixed.Merge(&halves[0])
	if forward != mixed {
		t.Error("two orders of merging differ")
	}
}

func TestPointSurvivesItsShortForm(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		p := randomPoint(r)
		short, _ := p.MarshalBinary()
		var got Point
		if err := got.UnmarshalBinary(short); err != nil || got != p {
			t.Fatalf("%v: %+v, want %+v", err, got, p)
		}
	}
	for _, bad := range []string{"", "\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xa3\x01\x01", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"} {
		if new(Point).Add([]byte(bad)) == nil {
			t.Errorf("%q is taken for a point", bad)
		}
	}
}

// one is a point of one request that took d.
func one(d time.Duration) *Point {
	var p Point
	p.Classes[Class2xx] = 1
	p.Latency[Index(d)] = 1
	return &p
}

func TestWindowsAndHistoriesAtEveryLevel(t *testing.T) {
	s := New(Options{})
	k := Key{Route, "/a"}
	start := time.Unix(1_800_000_000, 0) // a multiple of 600
	const day = 24 * 3600
	now := start
	for i := range day + 7200 { // one request a second; the first two hours fall out again
		now = start.Add(time.Duration(i) * time.Second)
		s.Add(now.Unix(), k, one(time.Millisecond))
	}
	now = now.Add(time.Second)
	for _, c := range []struct {
		window, step time.Duration
		steps        int
	}{
		{10 * time.Second, time.Second, 10}, {time.Minute, time.Second, 60}, {10 * time.Minute, 10 * time.Second, 60},
		{time.Hour, time.Minute, 60}, {24 * time.Hour, 10 * time.Minute, 144}, {48 * time.Hour, 10 * time.Minute, 144},
	} {
		var p Point
		covered := s.Window(&p, k, now, c.window)
		want := min(c.window, 24*time.Hour)
		if got := p.Requests(); got != uint64(want/time.Second) {
			t.Errorf("%v: %d requests, want %d", c.window, got, want/time.Second)
		}
		if covered != min(c.window, 26*time.Hour) {
			t.Errorf("%v: covers %v", c.window, covered)
		}
		steps := s.History(k, now, c.window)
		if len(steps) != c.steps || StepFor(c.window) != c.step {
			t.Fatalf("%v: %d steps of %v, want %d of %v", c.window, len(steps), StepFor(c.window), c.steps, c.step)
		}
		for i, st := range steps {
			var p Point
			if err := p.Add(st.Point); err != nil || p.Requests() != uint64(c.step/time.Second) {
				t.Fatalf("%v: step %d has %d requests, %v", c.window, i, p.Requests(), err)
			}
			if want := now.Add(-time.Duration(c.steps-i) * c.step).Unix(); st.Start != want {
				t.Fatalf("%v: step %d starts at %d, want %d", c.window, i, st.Start, want)
			}
		}
	}
}

func TestQuietTimesAreEmpty(t *testing.T) {
	s := New(Options{})
	k := Key{Total, ""}
	now := time.Unix(1_800_000_000, 0)
	s.Add(now.Unix(), k, one(time.Millisecond))
	now = now.Add(90 * time.Minute)
	for window, want := range map[time.Duration]uint64{time.Minute: 0, 10 * time.Minute: 0, time.Hour: 0, 2 * time.Hour: 1} {
		var p Point
		s.Window(&p, k, now, window)
		if p.Requests() != want {
			t.Errorf("%v: %d requests, want %d", window, p.Requests(), want)
		}
	}
	var p Point
	if covered := s.Window(&p, Key{Tenant, "nobody"}, now, time.Minute); p != (Point{}) || covered != time.Minute {
		t.Errorf("a series that there is not: %+v, %v", p, covered)
	}
	if covered := New(Options{}).Window(&p, k, now, time.Minute); covered != 0 {
		t.Errorf("an empty store covers %v", covered)
	}
}

// Invariant 3.
func TestSeriesOverTheCapCountAsOther(t *testing.T) {
	s := New(Options{MaxRoutes: 2, MaxTenants: 3})
	for i := range 10 {
		s.Add(1_800_000_000, Key{Route, fmt.Sprint("r", i)}, one(time.Millisecond))
		s.Add(1_800_000_000, Key{Tenant, fmt.Sprint("t", i)}, one(time.Millisecond))
	}
	if got := s.Keys(Route); !slices.Equal(got, []string{"other", "r0", "r1"}) {
		t.Errorf("routes %v", got)
	}
	var p Point
	s.Window(&p, Key{Tenant, other}, time.Unix(1_800_000_001, 0), time.Minute)
	if p.Requests() != 7 {
		t.Errorf("other tenants have %d requests, want 7", p.Requests())
	}
	s.Forget(Key{Route, "r0"})
	s.Add(1_800_000_001, Key{Route, "r9"}, one(time.Millisecond))
	if got := s.Keys(Route); !slices.Equal(got, []string{"other", "r1", "r9"}) {
		t.Errorf("routes %v after one was forgotten", got)
	}
}

func TestASuccessorKnowsWhatItsPredecessorKnew(t *testing.T) {
	old, young := New(Options{}), New(Options{})
	k := Key{Tenant, "acme"}
	start := time.Unix(1_800_000_000, 0)
	for i := range 7200 {
		old.Add(start.Unix()+int64(i), k, one(time.Duration(i)*time.Millisecond))
	}
	now := start.Add(2 * time.Hour)
	// It has counted two seconds of its own already, one of them at the same time.
	young.Add(now.Unix()-1, k, one(time.Second))
	young.Add(now.Unix(), k, one(time.Second))
	if err := young.Restore(old.Encode()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	for window, want := range map[time.Duration]uint64{10 * time.Second: 11, time.Minute: 61, 24 * time.Hour: 7202} {
		var p Point
		young.Window(&p, k, now, window)
		if p.Requests() != want {
			t.Errorf("%v: %d requests, want %d", window, p.Requests(), want)
		}
	}
	var p Point
	if covered := young.Window(&p, k, now, 3*time.Hour); covered != 2*time.Hour+time.Second {
		t.Errorf("covers %v", covered)
	}
	again := New(Options{})
	if err := again.Restore(young.Encode()); err != nil {
		t.Fatal(err)
	}
	for window := range map[time.Duration]bool{time.Minute: true, 24 * time.Hour: true} {
		var a, b Point
		young.Window(&a, k, now, window)
		again.Window(&b, k, now, window)
		if a != b {
			t.Errorf("%v differs after a second hand-over", window)
		}
	}
	if err := again.Restore([]byte{version + 1}); err == nil {
		t.Error("another version is taken")
	}
}

// Invariant 4.
func FuzzRestore(f *testing.F) {
	s := New(Options{})
	for i := range 3 {
		s.Add(1_800_000_000+int64(i), Key{Route, "/a"}, one(time.Millisecond))
	}
	f.Add(s.Encode())
	f.Add([]byte{version})
	f.Add([]byte{version, 2, 'r', 1, 'x', 1, 2, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Options{MaxRoutes: 4, MaxTenants: 4})
		if s.Restore(b) != nil {
			return
		}
		again := New(Options{MaxRoutes: 4, MaxTenants: 4})
		if err := again.Restore(s.Encode()); err != nil {
			t.Fatalf("what was restored does not survive: %v", err)
		}
	})
}

// Invariant 4.
func FuzzPoint(f *testing.F) {
	f.Add(one(time.Millisecond).Append(nil))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q Point
		if p.UnmarshalBinary(b) != nil {
			return
		}
		short := p.Append(nil)
		if err := q.UnmarshalBinary(short); err != nil || p != q {
			t.Fatalf("%v", err)
		}
		if again := q.Append(nil); !bytes.Equal(short, again) {
			t.Fatal("the short form has two forms")
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := New(Options{})
	k := Key{Route, "/a"}
	p := one(time.Millisecond)
	for i := range 40 {
		p.Latency[40+i] = uint64(i)
	}
	b.ReportAllocs()
	t := int64(1_800_000_000)
	for b.Loop() {
		t++
		s.Add(t, k, p)
	}
}

func BenchmarkWindow(b *testing.B) {
	s := New(Options{})
	k := Key{Route, "/a"}
	p := one(time.Millisecond)
	for i := range 40 {
		p.Latency[40+i] = uint64(i + 1)
	}
	now := time.Unix(1_800_000_000, 0)
	for i := range 24 * 3600 {
		s.Add(now.Unix()+int64(i), k, p)
	}
	now = now.Add(24 * time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		var p Point
		s.Window(&p, k, now, 24*time.Hour)
	}
	b.ReportMetric(float64(len(s.Encode())), "bytes/day")
}

func TestReportsOfNodesMerge(t *testing.T) {
	now := time.Unix(1_800_000_060, 0)
	a, b := New(Options{}), New(Options{})
	for i := range int64(30) {
		a.Add(1_800_000_000+i, Key{Total, ""}, one(time.Millisecond))
		b.Add(1_800_000_020+i, Key{Total, ""}, one(time.Second))
	}
	b.Add(1_800_000_050, Key{Tenant, "acme"}, one(time.Second))
	text, err := b.Report(now, time.Minute).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var told Report
	if err := told.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	all := a.Report(now, time.Minute)
	all.Merge(&told)
	if all.Covered != time.Minute || len(all.Series) != 2 || all.Series[Key{Total, ""}].Requests() != 60 || all.Series[Key{Tenant, "acme"}].Requests() != 1 {
		t.Errorf("%+v", all)
	}
	starts, points, err := MergeHistories(a.History(Key{Total, ""}, now, time.Minute), b.History(Key{Total, ""}, now, time.Minute))
	if err != nil || len(starts) != 50 || !slices.IsSorted(starts) {
		t.Fatalf("%d steps, %v", len(starts), err)
	}
	if points[0].Requests() != 1 || points[25].Requests() != 2 {
		t.Errorf("the first step has %d requests, the 26th %d", points[0].Requests(), points[25].Requests())
	}
	for _, bad := range []string{`{"rows":[{"k":"xx","p":""}]}`, `{"rows":[{"k":"r","p":"AA=="}]}`, `[]`} {
		if told.UnmarshalJSON([]byte(bad)) == nil {
			t.Errorf("%s is taken for a report", bad)
		}
	}
}

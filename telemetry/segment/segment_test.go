package segment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var day = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// line is a line of the access log, as far as searches look at it.
type line struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Path      string    `json:"path"`
	Route     string    `json:"route,omitempty"`
	Status    int       `json:"status"`
	Duration  float64   `json:"duration_ms"`
	Tenant    string    `json:"tenant,omitempty"`
	Agent     string    `json:"user_agent"`
}

func (l *line) text() string {
	b := fmt.Appendf(nil, `{"time":"%s","request_id":"%s","path":"%s"`, l.Time.Format("2006-01-02T15:04:05.000Z"), l.RequestID, quote(l.Path))
	if l.Route != "" {
		b = fmt.Appendf(b, `,"route":"%s"`, quote(l.Route))
	}
	b = fmt.Appendf(b, `,"status":%d,"origin":"upstream","duration_ms":%.3f`, l.Status, l.Duration)
	if l.Tenant != "" {
		b = fmt.Appendf(b, `,"tenant":"%s"`, quote(l.Tenant))
	}
	return string(fmt.Appendf(b, `,"user_agent":"%s"}`, quote(l.Agent)))
}

// quote writes a text as the inside of a JSON string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

// someLines makes n lines, one a millisecond, of a few tenants and routes with
// texts that look like fields of other lines.
func someLines(r *rand.Rand, n int) []line {
	lines := make([]line, n)
	for i := range lines {
		lines[i] = line{
			Time: day.Add(time.Duration(i)*time.Millisecond - time.Duration(r.IntN(3000))*time.Millisecond), RequestID: fmt.Sprintf("01JD%08X", r.Uint32()),
			Path: fmt.Sprintf("/items/%d", r.IntN(1000)), Route: [...]string{"/items/*", "/orders/*", ""}[r.IntN(3)],
			Status: [...]int{200, 200, 200, 200, 200, 404, 429, 503}[r.IntN(8)], Duration: r.ExpFloat64() * 100,
			Tenant: [...]string{"", "acme", `we "quote"`, "globex", fmt.Sprintf("t%d", r.IntN(5000))}[r.IntN(5)],
			Agent:  [...]string{"curl/8", `","tenant":"acme","status":503`, `{"request_id":"x"`}[r.IntN(3)],
		}
	}
	return lines
}

// wants is the query, said plainly.
func wants(q *Query, l *line) bool {
	at := l.Time.UnixMilli()
	inRange := (q.Since.IsZero() || at >= q.Since.UnixMilli()) && (q.Until.IsZero() || at < q.Until.UnixMilli())
	status := q.Status == "" || q.Status == fmt.Sprint(l.Status) || q.Status == fmt.Sprintf("%dxx", l.Status/100) || q.Status == ">=400" && l.Status >= 400
	return inRange && status && (q.Tenant == "" || q.Tenant == l.Tenant) && (q.Route == "" || q.Route == l.Route) &&
		(q.RequestID == "" || q.RequestID == l.RequestID) && (q.SlowerThan == 0 || l.Duration > float64(q.SlowerThan)/1e6) &&
		(q.Grep == "" || regexp.MustCompile(q.Grep).MatchString(l.text()))
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotate gives the file the name of a rotated one, compressed if need be.
func rotate(t testing.TB, path string, at time.Time, compressed bool) (to string) {
	t.Helper()
	to = Name(path, at)
	if err := os.Rename(path, to); err != nil {
		t.Fatal(err)
	}
	if compressed {
		compress(t, to)
	}
	return to
}

func compress(t testing.TB, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	x, err := Write(&z, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+Compressed, z.Bytes())
	write(t, path+Compressed+IndexExt, x)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// makeLog writes the lines into a log of five rotated files and a current one:
// compressed, without an index, with a damaged one, and not compressed yet.
func makeLog(t testing.TB, lines []line) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "access.log")
	each := len(lines)/6 + 1
	for part := 0; len(lines) > 0; part++ {
		n := min(each, len(lines))
		var text []byte
		for i := range lines[:n] {
			text = append(append(text, lines[i].text()...), '\n')
		}
		last := lines[n-1].Time
		lines = lines[n:]
		write(t, path, text)
		if len(lines) == 0 {
			break
		}
		to := rotate(t, path, last.Add(4*time.Second), part != 4)
		switch part {
		case 1:
			if err := os.Remove(to + Compressed + IndexExt); err != nil {
				t.Fatal(err)
			}
		case 2:
			write(t, to+Compressed+IndexExt, []byte(indexMagic+"damaged, but long enough to be looked at"))
		}
	}
	return path
}

func look(t testing.TB, path string, q Query) (found []string, r Result) {
	t.Helper()
	r, err := Search(context.Background(), path, q, quote, func(l []byte) bool { found = append(found, string(l)); return true })
	if err != nil {
		t.Fatal(err)
	}
	return found, r
}

// Invariants 1 to 3.
func TestASearchFindsWhatAScanFinds(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	lines := someLines(r, 12_000)
	path := makeLog(t, lines)
	skipped := 0
	for range 50 {
		var q Query
		some := &lines[r.IntN(len(lines))]
		for _, set := range []func(){
			func() { q.Since = some.Time }, func() { q.Until = some.Time.Add(time.Second) },
			func() { q.Tenant = some.Tenant }, func() { q.Route = some.Route },
			func() { q.Status = [...]string{"5xx", "429", ">=400", "404"}[r.IntN(4)] },
			func() { q.SlowerThan = 300 * time.Millisecond },
			func() { q.Grep = [...]string{"items/7", `items/\d7"`, "(?i)CURL"}[r.IntN(3)] },
			func() { q.RequestID = some.RequestID },
		} {
			if r.IntN(3) == 0 {
				set()
			}
		}
		q.Limit = len(lines)
		var want []string
		for i := range slices.Backward(lines) {
			if wants(&q, &lines[i]) {
				want = append(want, lines[i].text())
			}
		}
		got, result := look(t, path, q)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %+v: %d lines, want %d", seed, q, len(got), len(want))
		}
		skipped += result.Skipped
	}
	if skipped == 0 {
		t.Error("the index ruled nothing out")
	}
}

// Invariant 4.
func TestPagesGoOnWhileFilesMove(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lines := someLines(r, 12_000)
	path := makeLog(t, lines)
	var want, got []string
	for i := range slices.Backward(lines) {
		if lines[i].Tenant == "acme" {
			want = append(want, lines[i].text())
		}
	}
	q := Query{Tenant: "acme", Limit: 97}
	for pages := 1; ; pages++ {
		found, result := look(t, path, q)
		got = append(got, found...)
		if q.After = result.Next; q.After == "" {
			break
		}
		switch pages {
		case 2: // the page was within the current file
			to := rotate(t, path, day.Add(time.Hour), false)
			write(t, path, []byte(`{"request_id":"new"}`+"\n"))
			defer func() {
				if _, err := os.Stat(to); err == nil {
					t.Error("the file was not compressed")
				}
			}()
		case 4:
			compress(t, Name(path, day.Add(time.Hour)))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines in pages, want %d", len(got), len(want))
	}
}

func TestAPageWhoseFileIsGoneIsAnError(t *testing.T) {
	path := makeLog(t, someLines(rand.New(rand.NewPCG(1, 2)), 1000))
	_, result := look(t, path, Query{Limit: 1})
	write(t, path, []byte("another\n"))
	_, err := Search(context.Background(), path, Query{After: result.Next}, quote, func([]byte) bool { return true })
	if !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestQueriesThatMakeNoSenseAreErrors(t *testing.T) {
	for _, q := range []Query{{Status: "6xx"}, {Status: "99"}, {Status: ">=ten"}, {Status: "ok"}, {Grep: "("}, {After: "here"}} {
		if _, err := Search(context.Background(), filepath.Join(t.TempDir(), "access.log"), q, quote, nil); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
	if found, _ := look(t, filepath.Join(t.TempDir(), "access.log"), Query{}); found != nil {
		t.Errorf("found %q in nothing", found)
	}
}

func TestLongLinesAndAnUnfinishedOne(t *testing.T) {
	long := `{"time":"2026-11-25T08:00:00.000Z","path":"` + strings.Repeat("x", 3*pieceSize) + `"}`
	text := "first\n" + long + "\nmiddle\n" + long[:BlockSize+10] + "\nlast"
	for _, compressed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "access.log")
		write(t, path, []byte(text))
		if compressed {
			rotate(t, path, time.Now(), true)
		}
		found, _ := look(t, path, Query{})
		want := strings.Split(text, "\n")
		slices.Reverse(want)
		if !slices.Equal(found, want) {
			t.Errorf("compressed %v: found %d lines, want %d", compressed, len(found), len(want))
		}
	}
}

func TestFollowGoesOnInTheNextFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		add := func(text string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString(text); err != nil {
				t.Fatal(err)
			}
		}
		acme := func(id string) string { return `{"request_id":"` + id + `","tenant":"acme"}` }
		add(acme("before") + "\n")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error)
		go func() {
			done <- Follow(ctx, path, Query{Tenant: "acme"}, quote, func(l []byte) bool { got = append(got, string(l)); return true })
		}()
		step := func(do func()) { time.Sleep(followEvery * 3 / 2); do() }
		step(func() { add(acme("1") + "\n" + `{"tenant":"globex"}` + "\n" + acme("2")[:10]) })
		step(func() { add(acme("2")[10:] + "\n") })
		step(func() { rotate(t, path, time.Now(), true) })
		step(func() { add(acme("3") + "\n") })
		step(func() {
			add(acme("4") + "\n")
			rotate(t, path, time.Now().Add(time.Hour), false)
			add(acme("5") + "\n")
		})
		step(cancel)
		if err := <-done; err != nil {
			t.Error(err)
		}
		var want []string
		for i := range 5 {
			want = append(want, acme(fmt.Sprint(i+1)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("followed %q", got)
		}
	})
}

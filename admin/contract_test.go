package admin

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"sluice/internal/apicontract"
)

// contract is what every answer in these tests is held to.
var contract struct {
	sync.Mutex
	*apicontract.Contract
}

// TestMain fails when no test has seen an answer of an operation: a schema that
// nothing was held to promises nothing.
func TestMain(m *testing.M) {
	var err error
	if contract.Contract, err = apicontract.New(Document()); err != nil {
		panic(err)
	}
	code := m.Run()
	if only := flag.Lookup("test.run").Value.String(); code == 0 && only == "" && flag.Lookup("test.list").Value.String() == "" {
		for o := range openAPI().operations {
			if !contract.Seen(o.pattern()) {
				fmt.Printf("FAIL: no test has seen an answer of %s\n", o.pattern())
				code = 1
			}
		}
	}
	os.Exit(code)
}

// do serves r and holds the answer to the document.
func do(t testing.TB, s *Server, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if strings.HasPrefix(r.URL.Path, "/debug/") {
		return w
	}
	contract.Lock()
	defer contract.Unlock()
	if err := contract.Check(r.Method, r.URL.EscapedPath(), w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()); err != nil {
		t.Errorf("not as documented: %v\n%s", err, w.Body)
	}
	return w
}

// Invariant 6.
func TestEveryRouteIsInTheDocumentAndNothingElse(t *testing.T) {
	s, _ := newServer(t, new(bool))
	documented := map[string]string{}
	for o := range openAPI().operations {
		documented[o.pattern()], _ = o.tree["x-role"].(string)
	}
	for _, r := range s.routes {
		if strings.Contains(r.pattern, " /debug/") {
			continue
		}
		role, ok := documented[r.pattern]
		if !ok {
			t.Errorf("%s is not in the document", r.pattern)
			continue
		}
		want := r.role.String()
		if r.role == RoleNone {
			want = ""
		}
		if role != want {
			t.Errorf("%s needs the role %s; the document says x-role: %s", r.pattern, r.role, role)
		}
		delete(documented, r.pattern)
	}
	for pattern := range documented {
		t.Errorf("%s is in the document, but the server does not have it", pattern)
	}
}

func TestEveryOperationSaysWhatItIsFor(t *testing.T) {
	tags := map[any]bool{}
	list, _ := openAPI().tree["tags"].([]any)
	for _, tag := range list {
		m, _ := tag.(map[string]any)
		tags[m["name"]] = true
	}
	for o := range openAPI().operations {
		if summary, _ := o.tree["summary"].(string); summary == "" {
			t.Errorf("%s has no summary", o.pattern())
		}
		of, _ := o.tree["tags"].([]any)
		if len(of) != 1 || !tags[of[0]] {
			t.Errorf("%s has tags %v, want one of those at the top", o.pattern(), of)
		}
		for _, segment := range strings.Split(o.path, "/") {
			if name, ok := strings.CutPrefix(segment, "{"); ok && !openAPI().hasParameter(o, strings.TrimSuffix(name, "}")) {
				t.Errorf("%s does not describe %s", o.pattern(), segment)
			}
		}
	}
}

func (d *document) hasParameter(o operation, name string) bool {
	list, _ := o.tree["parameters"].([]any)
	for _, p := range list {
		if m, ok := d.resolve(p).(map[string]any); ok && m["in"] == "path" && m["name"] == name {
			return true
		}
	}
	return false
}

// TestTheContractIsHeld shows that do would see what is not as documented.
func TestTheContractIsHeld(t *testing.T) {
	for _, c := range []struct {
		what, path, body string
		status           int
	}{
		{"a member of another type", "/healthz", `{"healthy":"yes"}`, 200},
		{"a member missing", "/api/v1/cluster", `{"node":"a"}`, 200},
		{"an undocumented success", "/api/v1/cluster", `{}`, 201},
		{"an undocumented path", "/api/v1/nothing", `{}`, 200},
		{"no JSON", "/healthz", `healthy`, 200},
	} {
		contract.Lock()
		err := contract.Check("GET", c.path, c.status, "application/json", []byte(c.body))
		contract.Unlock()
		if err == nil {
			t.Errorf("%s goes unnoticed", c.what)
		}
	}
}

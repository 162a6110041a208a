package crs

import (
	"os"
	"path/filepath"
	"testing"
)

// A rule that looks at what only the engine's own reading of a body gives sees
// it, and the others find what they would find without it.
func TestRulesThatNeedTheEnginesReading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "own.conf")
	rules := `SecRule ARGS_COMBINED_SIZE "@gt 5000" "id:100001,phase:2,pass,log,msg:'many'"
SecRule FILES_SIZES "@gt 10" "id:100002,phase:2,pass,log,msg:'a file'"
`
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := New(Profile{Paranoia: 1, Rules: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	found := make(map[int]int)
	check := func(name string, r *Request) {
		_, v := same(t, e, name, r)
		for _, id := range ids(v) {
			found[id]++
		}
	}
	for _, c := range benchRequests() {
		check(c.name, c.r)
	}
	for _, c := range dear() {
		if len(c.r.Body) < 30<<10 {
			check(c.name, c.r)
		}
	}
	if found[100001] == 0 || found[100002] == 0 || found[942100] == 0 {
		t.Errorf("found %v, want rules 100001, 100002 and 942100 among them", found)
	}
}

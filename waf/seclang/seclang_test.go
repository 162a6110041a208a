package seclang

import (
	"io/fs"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/google/go-cmp/cmp"
)

func TestRuleIsReadWhole(t *testing.T) {
	ds, err := Split("x.conf", `
# a comment
SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/__utm/|ARGS:'/^a|b/'|&TX:max|XML:/* "!@rx (?i)a\"b\\" \
    "id:7,\
    phase:2,t:none,t:lowercase,t:urlDecodeUni,\
    msg:'one, two: three',\
    setvar:'tx.score=+%{tx.critical}',chain"
    # a comment within
    SecRule MATCHED_VAR "^x" "t:none,nolog"
SecAction "id:8,pass,nolog"
`)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Rules(ds)
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) != 2 || rules[1].ID != 8 || len(rules[1].Targets) != 0 || !rules[1].Has("nolog") {
		t.Fatalf("rules %+v", rules)
	}
	r := rules[0]
	wantTargets := []Target{
		{Name: "REQUEST_COOKIES"}, {Name: "REQUEST_COOKIES", Key: "__utm", Regex: true, Exclude: true},
		{Name: "ARGS", Key: "^a|b", Regex: true}, {Name: "TX", Key: "max", Count: true}, {Name: "XML", Key: "/*"},
	}
	if d := cmp.Diff(wantTargets, r.Targets); d != "" {
		t.Error(d)
	}
	if want := (Operator{Name: "rx", Arg: `(?i)a"b\\`, Negated: true}); r.Op != want {
		t.Errorf("operator %+v, want %+v", r.Op, want)
	}
	if d := cmp.Diff([]string{"lowercase", "urldecodeuni"}, r.Transformations()); d != "" {
		t.Error(d)
	}
	if msg, _ := r.Value("msg"); msg != "one, two: three" {
		t.Errorf("msg %q", msg)
	}
	if sv := r.Values("setvar"); len(sv) != 1 || sv[0] != "tx.score=+%{tx.critical}" {
		t.Errorf("setvar %q", sv)
	}
	if len(r.Chain) != 1 || r.Chain[0].Op != (Operator{Name: "rx", Arg: "^x"}) {
		t.Errorf("chain %+v", r.Chain)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		`SecRule ARGS`:                   "variables and an operator",
		`SecRule ARGS @rx`:               "double quotes",
		`SecRule ARGS "@rx x`:            "closing quote",
		`SecRule ARGS "@rx x" "phase:2"`: "no id",
		`SecRule ARGS "x" "id:a"`:        "no number",
		`SecRule ARGS:/x "x" "id:1"`:     "closing slash",
		`SecRule | "x" "id:1"`:           "without a name",
		`SecRule ARGS "x" "id:1,chain"`:  "no end",
		"SecDataset x `\na\n`":           "backticks",
		`SecAction "id:1" \`:             "backslash",
	} {
		ds, err := Split("f.conf", text)
		if err == nil {
			_, err = Rules(ds)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f.conf:") {
			t.Errorf("%s: %v, want f.conf:LINE and %q", text, err, want)
		}
	}
}

func TestCoreRuleSetIsRead(t *testing.T) {
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	n := 0
	for _, name := range names {
		text, err := fs.ReadFile(coreruleset.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		ds, err := Split(name, string(text))
		if err != nil {
			t.Fatal(err)
		}
		rules, err := Rules(ds)
		if err != nil {
			t.Fatal(err)
		}
		n += len(rules)
	}
	if n < 500 {
		t.Errorf("%d rules, want those of the whole set", n)
	}
}

func FuzzRules(f *testing.F) {
	f.Add(`SecRule ARGS|!ARGS:/a/ "@rx x" "id:1,t:none,msg:'a,b'"`)
	f.Add(`SecAction "id:1,pass"`)
	f.Fuzz(func(t *testing.T, text string) {
		ds, err := Split("f", text)
		if err != nil {
			return
		}
		rules, err := Rules(ds)
		if err != nil {
			return
		}
		for _, r := range rules {
			if r.ID == 0 {
				t.Errorf("a rule without id from %q", text)
			}
		}
	})
}

package conf

import "testing"

func TestExpand(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "a", "EMPTY": "", "NESTED": "${A}", "_x9": "under"}[name]
		return v, ok
	}
	for _, c := range []struct {
		text, want string
		used       bool
	}{
		{"plain", "plain", false},
		{"$A $ {A} 5$", "$A $ {A} 5$", false},
		{"${A}", "a", true},
		{"x${A}y${_x9}z", "xayunderz", true},
		{"${NONE:-d}", "d", true},
		{"${EMPTY:-d}", "d", true},
		{"${EMPTY}", "", true},
		{"${NONE:-}", "", true},
		{"${A:-d}", "a", true},
		{"${NONE:-http://x:80/}", "http://x:80/", true},
		{"${NESTED}", "${A}", true}, // what a variable holds is not expanded
		{"$${A}", "${A}", false},
		{"$$${A}", "$${A}", false},
		{"$${A} ${A}", "${A} a", true},
		{"${A}$${", "a${", true},
	} {
		got, used, _, err := expand(c.text, env)
		if err != nil || got != c.want || used != c.used {
			t.Errorf("expand(%q) = %q, %v, %v; want %q, %v", c.text, got, used, err, c.want, c.used)
		}
	}
	for text, offset := range map[string]int{"${NONE}": 0, "ab${NONE}": 2, "${A": 0, "${}": 0, "x${1}": 1, "${A B}": 0, "${A:=x}": 0, "é${NONE}": 2} {
		if got, _, at, err := expand(text, env); err == nil || at != offset || err.Hint == "" {
			t.Errorf("expand(%q) = %q at %d, %v; want an error at %d", text, got, at, err, offset)
		}
	}
}

func FuzzEscapeIsUndoneByExpand(f *testing.F) {
	for _, s := range []string{"", "$", "${A}", "$${A}", "a${", "$$$${", "${${"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, used, _, err := expand(escapeVariables(text), func(string) (string, bool) { return "", false })
		if err != nil || used || got != text {
			t.Errorf("escaped %q expands to %q, %v, %v", text, got, used, err)
		}
	})
}

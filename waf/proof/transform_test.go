package proof

import (
	"maps"
	"slices"
	"testing"
)

// chains are sequences as the rule set uses them, where one feeds the next.
var chains = [][]string{
	{"utf8tounicode", "urldecodeuni", "htmlentitydecode", "jsdecode", "cssdecode", "removenulls"},
	{"urldecodeuni", "jsdecode", "removewhitespace", "base64decode", "urldecodeuni", "jsdecode", "removewhitespace"},
	{"utf8tounicode", "urldecodeuni", "normalizepathwin"},
	{"cmdline", "normalizepath"},
}

// twin runs a transformation of ours, as the proof does.
func twin(chain []string, s string) string {
	for _, name := range chain {
		if t := transformations[name]; t.touches(traitsOf(s)) {
			s = t.apply(nil, s)
		}
	}
	return s
}

var oracles = func() func(chain []string) func(string) string {
	made := make(map[string]func(string) string)
	return func(chain []string) func(string) string {
		key := ""
		for _, c := range chain {
			key += c + ","
		}
		if made[key] == nil {
			made[key] = newOracle(chain)
		}
		return made[key]
	}
}()

func compareTransformations(t *testing.T, s string) {
	t.Helper()
	all := slices.Clone(chains)
	for _, name := range slices.Sorted(maps.Keys(transformations)) {
		all = append(all, []string{name})
	}
	for _, chain := range all {
		if got, want := twin(chain, s), oracles(chain)(s); got != want {
			t.Errorf("%v of %q is %q, the engine's is %q", chain, s, got, want)
		}
	}
}

var transformationSeeds = []string{
	"", "plain", "With Upper", "a%20b+c", "%u0041%uff01%u2039%zz%u12", "%", "%4", "&lt;script&gt;&#x41;&notin;", `\u0041\x41\101\400\u{1F600}\u{}\n\q\`,
	`\41 b\0 \ff01 x\` + "\n", "Grüße, Żółć \u212a\u017f\u0130", "a\x00b", "\xff\xfe\x80", `c^a"t /etc;/passwd ( x )`, "/a/./b/../c/", "..\\..\\windows", "C:\\x. \\y:stream",
	" . /..../ x. /", "a b\tc\u00a0\u0085d\u2003e", "a/*b*/c/*d", "x--y#z<!--q-->*/", "aGVsbG8gd29ybGQ=", "aGVs\nbG8", "----", "\xa0\xa0 \xa0", "SELECT * FROM t WHERE a='b'",
}

func TestTransformationsAreTheEngines(t *testing.T) {
	for _, s := range transformationSeeds {
		compareTransformations(t, s)
	}
}

func FuzzTransformations(f *testing.F) {
	for _, s := range transformationSeeds {
		f.Add(s)
	}
	f.Fuzz(compareTransformations)
}

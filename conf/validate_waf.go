package conf

import "os"

// wafRules checks that the files with rules of the operator's own are there;
// what they say is checked when the rules are built.
func (v *validator) wafRules() {
	for i, name := range v.doc.WAF.Rules {
		at := indexPath("waf.rules", i)
		if name == "" || v.broken(at) {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			v.errorf(at, "name a file that exists, relative to the working directory", "the rules %s cannot be read", v.quote(at, name))
		}
	}
	v.unique("waf.rules", v.doc.WAF.Rules, same)
}

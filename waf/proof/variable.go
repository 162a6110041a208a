package proof

import (
	"regexp"
	"slices"
	"strings"

	"sluice/waf/seclang"
)

// Var is a part of a request whose values are judged.
type Var uint8

// The parts of a request. Names are entries of their own.
const (
	ArgGet Var = iota
	ArgGetName
	ArgPost
	ArgPostName
	Cookie
	CookieName
	Header
	HeaderName
	URI
	URIRaw
	Filename
	Basename
	Line
	Method
	Protocol
	Query
	Body
	BodyLength
	BodyProcessor
	BodyError
	File
	FileName
	PartHeader
	XMLText
	XMLAttribute
	StrictError
	MultipartFilename
	MultipartName
	NumVars
)

// Vars is a set of parts.
type Vars uint64

// Has reports whether v is in the set.
func (s Vars) Has(v Var) bool { return s>>v&1 != 0 }

// variables are the rule language's names for them.
var variables = map[string][]Var{
	"ARGS": {ArgGet, ArgPost}, "ARGS_GET": {ArgGet}, "ARGS_POST": {ArgPost},
	"ARGS_NAMES": {ArgGetName, ArgPostName}, "ARGS_GET_NAMES": {ArgGetName}, "ARGS_POST_NAMES": {ArgPostName},
	"REQUEST_COOKIES": {Cookie}, "REQUEST_COOKIES_NAMES": {CookieName},
	"REQUEST_HEADERS": {Header}, "REQUEST_HEADERS_NAMES": {HeaderName},
	"REQUEST_URI": {URI}, "REQUEST_URI_RAW": {URIRaw}, "REQUEST_FILENAME": {Filename}, "REQUEST_BASENAME": {Basename},
	"REQUEST_LINE": {Line}, "REQUEST_METHOD": {Method}, "REQUEST_PROTOCOL": {Protocol}, "QUERY_STRING": {Query},
	"REQUEST_BODY": {Body}, "REQUEST_BODY_LENGTH": {BodyLength}, "REQBODY_PROCESSOR": {BodyProcessor}, "REQBODY_ERROR": {BodyError},
	"FILES": {File}, "FILES_NAMES": {FileName}, "MULTIPART_PART_HEADERS": {PartHeader},
	"XML": {XMLText, XMLAttribute}, "MULTIPART_STRICT_ERROR": {StrictError},
	"MULTIPART_FILENAME": {MultipartFilename}, "MULTIPART_NAME": {MultipartName},
}

// VarsOf returns the parts that a name of the rule language means.
func VarsOf(name string) []Var { return variables[name] }

// variable is where the rules look in one part of a request.
type variable struct {
	any   *class            // for keys that no rule names
	byKey map[string]*class // for keys that some rule names, in lower case
	regex []keyed           // for keys that match, on top
	count []uint16          // counts of all entries
	keys  map[string][]uint16
}

type keyed struct {
	re      *regexp.Regexp
	class   *class
	count   uint16
	isCount bool
}

// countTarget is a number of entries that rules look at.
type countTarget struct {
	class *class
	small [4][]uint16 // links that match the counts 0 to 3
}

// class is a set of links that look at the same values.
type class struct {
	id      uint64
	nodes   []node
	byBytes []alternative // of these links
}

// node is one step of the chains of transformations that the links of a class
// use, after its parent's.
type node struct {
	parent int
	apply  *transformation // nil: the value itself
	links  []uint64        // that look at this text
	after  []uint16        // that look at it, and at what further steps make of it
}

// place puts every link where its targets look.
func (c *compiler) place() error {
	p := c.p
	for v := range NumVars {
		keys := make(map[string]bool)
		for _, t := range c.targets {
			if !slices.Contains(variables[t.target.Name], v) {
				continue
			}
			if t.target.Key != "" && !t.target.Regex && !t.target.Count {
				keys[strings.ToLower(t.target.Key)] = true
			}
			for _, e := range t.except {
				if e.Name == t.target.Name && !e.Regex {
					keys[strings.ToLower(e.Key)] = true
				}
			}
		}
		x := &p.vars[v]
		x.any = c.classFor(v, "")
		x.byKey = make(map[string]*class, len(keys))
		for k := range keys {
			if k != "" {
				x.byKey[k] = c.classFor(v, k)
			}
		}
		for _, t := range c.targets {
			if !t.target.Regex || t.target.Count || !slices.Contains(variables[t.target.Name], v) {
				continue
			}
			re, err := regexp.Compile("(?i)" + t.target.Key)
			if err != nil {
				re = everyKey
			}
			x.regex = append(x.regex, keyed{re: re, class: c.class([]uint16{t.link})})
		}
	}
	for _, t := range c.targets {
		if t.target.Count {
			c.placeCount(t)
		}
	}
	return nil
}

var everyKey = regexp.MustCompile("")

// classFor returns the links that look at the entries of v under key; "" is a
// key that no rule names.
func (c *compiler) classFor(v Var, key string) *class {
	var links []uint16
	for _, t := range c.targets {
		if t.target.Count || t.target.Regex || !slices.Contains(variables[t.target.Name], v) || slices.Contains(links, t.link) {
			continue
		}
		if t.target.Name == "XML" { // the key chooses the part
			if (t.target.Key == "/*") == (v == XMLText) {
				links = append(links, t.link)
			}
			continue
		}
		switch k := strings.ToLower(t.target.Key); {
		case k != "" && k != key:
			continue
		case key != "" && slices.ContainsFunc(t.except, func(e seclang.Target) bool {
			return e.Name == t.target.Name && !e.Regex && strings.EqualFold(e.Key, key)
		}):
			continue
		}
		links = append(links, t.link)
	}
	return c.class(links)
}

// class returns the class of these links, nil for none.
func (c *compiler) class(links []uint16) *class {
	if len(links) == 0 {
		return nil
	}
	p := c.p
	set := make([]uint64, p.words)
	key := make([]byte, 0, 2*len(links))
	slices.Sort(links)
	for _, l := range links {
		set[l>>6] |= 1 << (l & 63)
		key = append(key, byte(l), byte(l>>8))
	}
	if k := p.classes[string(key)]; k != nil {
		return k
	}
	k := &class{id: uint64(len(p.classes)), nodes: []node{{parent: -1}}}
	for _, l := range links {
		at := 0
		look := func(at int) {
			if k.nodes[at].links == nil {
				k.nodes[at].links = make([]uint64, p.words)
			}
			k.nodes[at].links[l>>6] |= 1 << (l & 63)
		}
		for i, t := range p.links[l].chain {
			if p.links[l].each {
				look(at)
			}
			next := slices.IndexFunc(k.nodes, func(n node) bool { return n.parent == at && n.apply == t })
			if next < 0 {
				next = len(k.nodes)
				k.nodes = append(k.nodes, node{parent: at, apply: t})
			}
			at = next
			if p.links[l].each && i+1 < len(p.links[l].chain) {
				k.nodes[at].after = append(k.nodes[at].after, l)
			}
		}
		look(at)
	}
	for _, a := range p.byBytes {
		if set[a.link>>6]&(1<<(a.link&63)) != 0 {
			k.byBytes = append(k.byBytes, a)
		}
	}
	p.classes[string(key)] = k
	return k
}

// placeCount makes a count that a link looks at.
func (c *compiler) placeCount(t placed) {
	n := uint16(len(c.p.counts))
	target := countTarget{class: c.class([]uint16{t.link})}
	s := c.p.NewScan()
	for i := range target.small {
		s.reset()
		s.judge(target.class, string(rune('0'+i)))
		if s.hit[t.link>>6]&(1<<(t.link&63)) != 0 {
			target.small[i] = []uint16{t.link}
		}
	}
	c.p.counts = append(c.p.counts, target)
	for _, v := range variables[t.target.Name] {
		x := &c.p.vars[v]
		switch key := strings.ToLower(t.target.Key); {
		case t.target.Regex:
			re, err := regexp.Compile("(?i)" + t.target.Key)
			if err != nil {
				re = everyKey
			}
			x.regex = append(x.regex, keyed{re: re, count: n, isCount: true})
		case key != "":
			if x.keys == nil {
				x.keys = make(map[string][]uint16)
			}
			x.keys[key] = append(x.keys[key], n)
		default:
			x.count = append(x.count, n)
		}
	}
}

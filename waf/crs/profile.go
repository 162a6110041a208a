package crs

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"sluice/waf/seclang"
)

//go:embed rules/*.conf
var ownRules embed.FS

// Profile is what an engine is built from. Routes with equal profiles share
// one.
type Profile struct {
	Paranoia int      // 1 to 4
	Rules    []string // files of the operator's own rules, in order
}

// Key tells profiles apart.
func (p Profile) Key() string {
	return fmt.Sprintf("%d %s", p.Paranoia, strings.Join(p.Rules, "\x00"))
}

// Fingerprint tells what engines are built from: the profile, and what the
// operator's files hold now.
func (p Profile) Fingerprint() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q", p.Key())
	for _, name := range p.Rules {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read rules: %w", err)
		}
		fmt.Fprintf(h, "%q", text)
	}
	return string(h.Sum(nil)), nil
}

// What APIs send beyond the Core Rule Set's defaults, which were made for web
// sites: methods, content types and Expect, which curl sends with larger bodies.
const (
	methods    = "GET HEAD POST OPTIONS PUT PATCH DELETE"
	mediaTypes = "|application/x-www-form-urlencoded| |multipart/form-data| |text/xml| |application/xml| |application/soap+xml| " +
		"|application/json| |application/problem+json| |application/merge-patch+json| |application/json-patch+json| |application/vnd.api+json| " +
		"|application/ld+json| |application/graphql| |application/graphql-response+json| |application/cloudevents+json| |application/x-ndjson| " +
		"|application/problem+xml| |application/octet-stream| |application/protobuf| |application/x-protobuf| |application/grpc| |application/grpc+proto| " +
		"|application/grpc-web| |application/grpc-web+proto| |application/grpc-web-text| |application/msgpack| |application/cbor| |application/pdf| " +
		"|application/gzip| |application/zip| |text/plain| |text/csv| |image/png| |image/jpeg| |image/webp| |image/gif|"
	restrictedHeaders = "/content-encoding/ /proxy/ /lock-token/ /content-range/ /if/ /x-http-method-override/ /x-http-method/ /x-method-override/ /x-middleware-subrequest/"
)

// thresholdVariable is set for each request: routes differ in it.
const thresholdVariable = "inbound_anomaly_score_threshold"

// setup returns the directives that come before all rules.
func (p Profile) setup() string {
	return "SecRuleEngine On\n" +
		"SecRequestBodyAccess On\n" +
		"SecRequestBodyLimit 1073741824\n" + // ours is smaller, and denies
		"SecRequestBodyInMemoryLimit 1073741824\n" +
		"SecRequestBodyLimitAction Reject\n" +
		"SecRequestBodyJsonDepthLimit 1024\n" +
		"SecArgumentsLimit 1000000\n" + // it cuts off; ours denies
		"SecAuditEngine Off\n" +
		fmt.Sprintf(`SecAction "id:900990,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=4250,`+
			`setvar:tx.blocking_paranoia_level=%d,setvar:'tx.allowed_methods=%s',setvar:'tx.allowed_request_content_type=%s',`+
			`setvar:'tx.restricted_headers_basic=%s'"`+"\n", p.Paranoia, methods, mediaTypes, restrictedHeaders)
}

// loaded is the text of a profile.
type loaded struct {
	files      []string // names for the engine, in order
	root       rootFS
	directives []seclang.Directive
}

const setupFile, removeFile = "sluice/setup.conf", "sluice/levels.conf"

// load reads all files of the profile.
func (p Profile) load() (*loaded, error) {
	l := &loaded{root: rootFS{setupFile: p.setup()}}
	crs, err := fs.Glob(coreruleset.FS, "@owasp_crs/REQUEST-*.conf")
	if err != nil {
		return nil, err
	}
	slices.Sort(crs)
	at := func(prefix string) int {
		return slices.IndexFunc(crs, func(n string) bool { return path.Base(n) >= prefix })
	}
	first, scoring := at("REQUEST-911"), at("REQUEST-949")
	l.files = append(l.files, setupFile, l.root.own("base.conf"))
	l.files = append(l.files, crs[:first]...)
	l.files = append(l.files, p.Rules...)
	l.files = append(l.files, crs[first:scoring]...)
	l.files = append(l.files, crs[scoring:]...)
	var higher strings.Builder
	for level := p.Paranoia + 1; level <= 4; level++ {
		fmt.Fprintf(&higher, "SecRuleRemoveByTag paranoia-level/%d\n", level)
	}
	if higher.Len() > 0 {
		l.root[removeFile] = higher.String()
		l.files = append(l.files, removeFile)
	}
	for _, name := range l.files {
		text, err := fs.ReadFile(l.root, name)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		ds, err := seclang.Split(name, string(text))
		if err != nil {
			return nil, err
		}
		if slices.Contains(p.Rules, name) {
			if err := permitted(ds); err != nil {
				return nil, err
			}
		}
		l.directives = append(l.directives, ds...)
	}
	return l, nil
}

// permitted refuses in an operator's file what would change the engine's
// settings, or rules behind the back of the proof.
func permitted(ds []seclang.Directive) error {
	for _, d := range ds {
		switch d.Name {
		case "secrule", "secaction", "secmarker", "secruleremovebyid", "secruleremovebytag", "secruleremovebymsg":
			continue
		case "secruleupdatetargetbyid":
			_, targets, _ := strings.Cut(d.Args, " ")
			parsed, err := seclang.ParseTargets(strings.Trim(strings.TrimSpace(targets), `"`))
			if err == nil && !slices.ContainsFunc(parsed, func(t seclang.Target) bool { return !t.Exclude }) {
				continue
			}
			return fmt.Errorf("%s:%d: %s may take variables away (!ARGS:x), not add them", d.File, d.Line, d.Name)
		}
		return fmt.Errorf("%s:%d: %s is not allowed here: write SecRule, SecAction, SecMarker, SecRuleRemoveById, SecRuleRemoveByTag or SecRuleUpdateTargetById; limits and modes are settings of the configuration", d.File, d.Line, d.Name)
	}
	return nil
}

// frame reports whether a rule belongs to what surrounds the rules that find:
// initialisation before them, scoring behind them. They report what others found.
func frame(r *seclang.Rule) bool {
	if r.File == setupFile {
		return true
	}
	base := path.Base(r.File)
	for _, prefix := range []string{"REQUEST-901-", "REQUEST-905-", "REQUEST-949-", "REQUEST-999-"} {
		if strings.HasPrefix(r.File, "@owasp_crs/") && strings.HasPrefix(base, prefix) {
			return true
		}
	}
	return false
}

// rootFS finds the rule set, our own rules, and the operator's files by their
// paths.
type rootFS map[string]string

func (f rootFS) own(name string) string {
	text, err := ownRules.ReadFile("rules/" + name)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	f["sluice/"+name] = string(text)
	return "sluice/" + name
}

// Open implements fs.FS. Names need not be valid in its sense: operators write
// absolute paths.
func (f rootFS) Open(name string) (fs.File, error) {
	if i := strings.Index(name, "@owasp_crs/"); i >= 0 {
		return coreruleset.FS.Open(name[i:])
	}
	return os.Open(name)
}

// ReadFile implements fs.ReadFileFS.
func (f rootFS) ReadFile(name string) ([]byte, error) {
	if text, ok := f[name]; ok {
		return []byte(text), nil
	}
	if i := strings.Index(name, "@owasp_crs/"); i >= 0 {
		return fs.ReadFile(coreruleset.FS, name[i:])
	}
	return os.ReadFile(name)
}

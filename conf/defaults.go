package conf

import (
	"cmp"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// fallback is a default, written as it would be in the file, and why it is that.
type fallback struct {
	value  string
	reason string
}

// defaults holds every default by struct and key. What depends on other settings
// is in deriveDefaults.
var defaults = map[string]fallback{
	"Document.listeners": {`[{address: ":8080"}]`, "a first try needs no privileged port and no certificate"},
	"Document.tiers":     {`{standard: {requests: 1000}, premium: {requests: 5000}, enterprise: {requests: 10000}}`, "three usual sizes; name your own to replace them all"},

	"Node.data_dir":        {`./data`, "beside the process, so that a first start needs no rights elsewhere"},
	"Node.drain_timeout":   {`30s`, "as long as the longest request, services.*.timeout.request, and what service managers wait at least"},
	"Node.upgrade_timeout": {`30s`, "many times a healthy start, certificates, key sets and caches included; the old process serves meanwhile"},

	"Listener.engine":        {`auto`, "the fastest way that is right for the connection"},
	"Listener.encoded_slash": {`refuse`, "an upstream that decodes %2F sees another path than the one that was authorized"},
	"Listener.max_header":    {`64KiB`, "tokens with many permissions fit; memory held for a client that sends no body stays small"},

	"ListenerTimeouts.header": {`10s`, "slow mobile clients manage; one that sends a byte a second does not hold a connection for long"},
	"ListenerTimeouts.idle":   {`75s`, "longer than the 60s of the usual load balancers in front, so that they and not we close first"},

	"TLS.min_version": {`"1.2"`, "RFC 8996 forbids older ones; 1.3 alone still shuts out some clients"},

	"Admin.address": {`127.0.0.1:9090`, "control is for this machine until somebody decides otherwise"},

	"Redis.timeout": {`50ms`, "far above a healthy round trip, far below what a client notices"},
	"Cluster.bind":  {`0.0.0.0:7946`, "the customary port of the gossip library"},
	"Cluster.label": {`sluice`, "other users of the gossip library on this network are told apart"},

	"Auth.cache_tokens":        {`100000`, "every caller of an hour, for most platforms"},
	"Issuer.algorithms":        {`[RS256, ES256, EdDSA]`, "what identity providers sign with; the rest is for those who know why"},
	"Issuer.tenant_claim":      {`org_id`, "where Auth0 puts the organization"},
	"Issuer.permissions_claim": {`permissions`, "where Auth0 puts them"},
	"Issuer.leeway":            {`30s`, "clocks kept by NTP differ by less than a second; virtual machines that woke up by more"},
	"APIKeys.header":           {`X-API-Key`, "the customary name"},
	"APIKeys.prefix":           {`slc`, "secret scanners find a leaked key by it"},
	"TenantHeader.name":        {`X-Tenant-ID`, "the customary name"},
	"TenantHeader.trust":       {`never`, "a header is no credential"},

	"Limit.per":           {`1h`, "quotas are sold by the hour"},
	"Limit.window":        {`sliding`, "a fixed window admits twice the limit around its edge"},
	"RouteLimit.by":       {`tenant`, "one tenant must not use up another's share"},
	"Limits.default_tier": {`standard`, "the smallest tier"},
	"Limits.anonymous":    {`{requests: 100}`, "enough to try, too little to scrape"},
	"Limits.mode":         {`enforce`, "a limit that does not hold is no limit"},
	"Limits.durable":      {`true`, "whoever can crash a node must not get new quotas by it; it costs a sync of the disk for every 300th part of a quota, which many tenants share"},
	"Limits.partition":    {`strict`, "a limit that holds only in good weather is no limit"},

	"Service.protocol":        {`auto`, "what nearly every service speaks"},
	"Service.balance":         {`least_request`, "a slow upstream gets less without being told"},
	"Service.max_connections": {`1024`, "far more than one upstream usefully answers at once; bounds what a stuck one can hold"},
	"Service.max_idle":        {`256`, "a burst finds its connections again; more costs the upstream memory"},
	"Upstream.weight":         {`1`, "all equal"},
	"ServiceTimeouts.connect": {`1s`, "one lost SYN is sent again after a second; more than that is not worth a client's wait"},
	"ServiceTimeouts.request": {`30s`, "as long as people wait"},
	"ServiceTimeouts.idle":    {`60s`, "event streams send something more often than that"},
	"Retry.attempts":          {`2`, "the second try finds another upstream; a third adds load where it hurts"},
	"Retry.budget":            {`20%`, "a failing service must not get twice the load"},
	"Retry.on":                {`[connect, reset]`, "in both the upstream has not answered"},
	"Health.path":             {`/health`, "the customary path"},
	"Health.interval":         {`5s`, "an outage is noticed within ten seconds"},
	"Health.timeout":          {`2s`, "a healthy answer takes milliseconds"},
	"Health.unhealthy":        {`2`, "one lost packet is no outage"},
	"Health.healthy":          {`1`, "capacity comes back at once"},
	"Eject.errors":            {`5`, "chance does not produce five in a row"},
	"Eject.for":               {`30s`, "about a restart"},
	"Eject.max":               {`50%`, "the other half must carry the load"},
	"OpenAPI.validate":        {`off`, "a document may lag behind its service"},

	"Route.auth": {`required`, "open by decision, never by omission"},
	"Route.cost": {`1`, "one request is one request"},

	"CORS.methods": {`[GET, HEAD, POST, PUT, PATCH, DELETE]`, "what APIs use"},
	"CORS.expose":  {`[X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID]`, "scripts need them to slow down and to report a fault"},
	"CORS.max_age": {`10m`, "the most that some browsers keep"},

	"Headers.preset": {`none`, "responses stay the service's own"},

	"Ban.action": {`block`, "a ban is meant to stop something"},

	"Detector.mode":        {`observe`, "first see whom it would ban"},
	"Detector.max_for":     {`24h`, "addresses change hands within a day"},
	"DetectorSurge.factor": {`10`, "campaigns and mornings multiply traffic by less"},
	"DetectorSurge.floor":  {`20/s`, "a browser that opens a page sends this for a moment"},
	"DetectorSurge.action": {`observe`, "a success looks like a surge"},
	"DetectorSurge.for":    {`5m`, "as short as a mistake is forgivable"},

	"WAF.mode":              {`off`, "first look, then detect, then block"},
	"WAF.paranoia":          {`1`, "the level without false alarms on ordinary APIs"},
	"WAF.threshold":         {`5`, "one critical rule is enough, as the rule set is made for"},
	"WAFLimits.body":        {`1MiB`, "larger bodies are uploads, which have types that are not inspected"},
	"WAFLimits.over":        {`deny`, "what is not inspected may hold anything"},
	"WAFLimits.arguments":   {`1000`, "more than forms and documents of an API hold"},
	"WAFLimits.name_length": {`512B`, "names that people chose are shorter"},
	"WAFLimits.depth":       {`32`, "deeper documents are made to exhaust parsers"},
	"WAFLimits.parts":       {`100`, "a form with files has a handful"},
	"WAFEngine.time":        {`500ms`, "twenty-five times what the dearest inspection takes of a processor"},
	"WAFEngine.overload":    {`refuse`, "what is not inspected may hold anything"},

	"Logs.level":           {`info`, "starts, stops and what a person must know"},
	"Logs.format":          {`auto`, "people read terminals, machines read the rest"},
	"AccessLog.file":       {`stdout`, "containers and service managers collect it there"},
	"AccessLog.keep":       {`14d`, "a fortnight answers most questions; data protection asks for no longer"},
	"AccessLog.max_size":   {`10GiB`, "fits on a small disk"},
	"SecurityLog.keep":     {`90d`, "an attack is often found weeks after it began"},
	"SecurityLog.max_size": {`1GiB`, "events are rarer than requests"},
	"PayloadLog.keep":      {`3d`, "bodies are personal data, and a fault is looked for at once"},
	"PayloadLog.max_size":  {`1GiB`, "a capture that is too wide must not fill the disk"},
	"PayloadLog.max_body":  {`16KiB`, "most bodies are smaller; of the rest the beginning tells most"},
	"PayloadLog.sample":    {`0%`, "bodies are personal data"},
	"Capture.sample":       {`100%`, "a capture is narrow by its other conditions"},
	"Redact.mode":          {`mask`, "nothing of the value is kept"},
	"LogOutput.streams":    {`[access, security]`, "payloads stay on the node unless asked for"},
	"LogOutput.index":      {`sluice`, "the product's name"},
	"LogOutput.timeout":    {`10s`, "a receiver that takes longer is counted as down"},
	"LogOutput.buffer":     {`8MiB`, "some 16,000 lines: seconds of a busy node"},
	"LogOutput.spill":      {`256MiB`, "half a million lines: a receiver's restart"},
	"Traces.sample":        {`1%`, "enough to see shapes, too little to cost"},
}

var defaultNodes = sync.OnceValue(func() map[string]*yaml.Node {
	nodes := make(map[string]*yaml.Node, len(defaults))
	for name, f := range defaults {
		docs, err := parseYAML([]byte(f.value))
		if err != nil {
			panic("BUG: the default of " + name + " is no YAML: " + err.Error())
		}
		nodes[name] = docs[0].Content[0]
	}
	return nodes
})

// defaultNode returns the default of f, or nil.
func defaultNode(f field) *yaml.Node { return defaultNodes()[f.owner+"."+f.key] }

// deriveDefaults gives the settings that follow from others, or from the machine.
func deriveDefaults(d *Document) {
	if d.Node.Name == "" {
		if d.Node.Name, _ = os.Hostname(); d.Node.Name == "" {
			d.Node.Name = "sluice"
		}
	}
	for _, log := range []struct {
		file *string
		name string
	}{{&d.Logs.Security.File, "security.log"}, {&d.Logs.Payload.File, "payload.log"}} {
		if *log.file == "" {
			*log.file = filepath.Join(d.Node.DataDir, log.name)
		}
	}
	for i := range d.Auth.Issuers {
		if is := &d.Auth.Issuers[i]; is.JWKSURL == "" && is.Issuer != "" {
			is.JWKSURL = strings.TrimSuffix(is.Issuer, "/") + "/.well-known/jwks.json"
		}
	}
	for name, limit := range d.Tiers {
		deriveLimit(&limit)
		d.Tiers[name] = limit
	}
	deriveLimit(d.Limits.Anonymous)
	deriveLimit(d.Limits.Address)
	for name, s := range d.Services {
		if s.Timeout.Header == 0 {
			s.Timeout.Header = s.Timeout.Request
		}
		d.Services[name] = s
	}
	deriveDetector(&d.WAF.Detector)
	for i := range d.Routes {
		rt := &d.Routes[i]
		if rt.Name == "" {
			rt.Name = routeName(rt)
		}
		if rt.Limit != nil {
			deriveLimit(&rt.Limit.Limit)
		}
	}
}

// deriveDetector fills in what the rules do not say. The counts are far above
// what people and their programs do by mistake, and far below what guessing needs.
func deriveDetector(d *Detector) {
	const minute = Duration(time.Minute)
	for rule, usual := range map[*DetectorRule]DetectorRule{
		&d.BruteForce:         {20, 10 * minute, "block", 15 * minute},
		&d.CredentialStuffing: {10, 10 * minute, "block", 30 * minute},
		&d.Scanning:           {30, minute, "block", 15 * minute},
		&d.Attacks:            {10, 10 * minute, "block", 30 * minute},
		&d.Throttled:          {1000, minute, "challenge", 5 * minute},
	} {
		rule.Count, rule.Per = cmp.Or(rule.Count, usual.Count), cmp.Or(rule.Per, usual.Per)
		rule.Action, rule.For = cmp.Or(rule.Action, usual.Action), cmp.Or(rule.For, usual.For)
	}
}

// deriveLimit gives a burst one second of its rate: less would refuse a client
// that keeps exactly to the rate but sends in small groups.
func deriveLimit(l *Limit) {
	if l != nil && l.Burst != nil && l.Burst.Size == 0 {
		l.Burst.Size = max(1, int64(math.Ceil(l.Burst.Rate.PerSecond())))
	}
}

// routeName is the name of a route that was given none, such as
// "GET,POST api.example.com/items/*".
func routeName(rt *Route) string {
	var b strings.Builder
	if len(rt.Methods) > 0 {
		b.WriteString(strings.Join(rt.Methods, ",") + " ")
	}
	b.WriteString(rt.Host + rt.Path)
	return b.String()
}

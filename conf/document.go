//go:generate go test -run TestReferenceIsCurrent -update .

package conf

// Document is one configuration as its operator wrote it: pure data, decoded,
// defaulted and checked by [Load], compiled into a running world elsewhere.
//
// The tags drive everything that is generated from this file: the strict
// decoder, the JSON Schema and docs/configuration.md. `yaml` is the key, `doc`
// its sentence, `enum` the allowed words, `need:"true"` a key that must be
// there, `soon` a setting that is accepted and checked but not yet acted on
// (the sentence says so, and check and serve warn when it is used). `min` and
// `max` bound a number, a duration or a size. `short:"true"` is the key that a
// plain text instead of a mapping gives.
type Document struct {
	Node      Node               `yaml:"node" doc:"This process: its name, its data, how it stops."`
	Listeners []Listener         `yaml:"listeners" doc:"The addresses that accept client traffic. Absent: one plain listener on :8080."`
	Admin     Admin              `yaml:"admin" doc:"The private listener: metrics, health, control."`
	Store     *Store             `yaml:"store" doc:"The database of tenants, keys and policies. Absent: SQLite in node.data_dir; with a cluster, none."`
	Redis     *Redis             `yaml:"redis" doc:"The authority that makes quotas exact across nodes."`
	Cluster   *Cluster           `yaml:"cluster" doc:"Membership and gossip between nodes, which share quotas and bans."`
	Auth      Auth               `yaml:"auth" doc:"Who may call: token issuers, API keys, the tenant header."`
	Tiers     map[string]Limit   `yaml:"tiers" doc:"Quotas by tier name. Absent: standard, premium and enterprise at 1,000, 5,000 and 10,000 requests an hour."`
	Limits    Limits             `yaml:"limits" doc:"Which limits hold for whom."`
	Services  map[string]Service `yaml:"services" doc:"Upstream services by name."`
	Routes    []Route            `yaml:"routes" doc:"Which request goes to which service, most specific first whatever their order here."`
	CORS      *CORS              `yaml:"cors" doc:"Cross-origin rules for browsers. Absent: no CORS headers are added."`
	Headers   Headers            `yaml:"headers" doc:"Security headers on responses."`
	WAF       WAF                `yaml:"waf" doc:"The web application firewall and the address lists."`
	Logs      Logs               `yaml:"logs" doc:"Access and payload logs."`
	Traces    *Traces            `yaml:"traces" doc:"Where spans are exported to." soon:"trace context is passed on, but no spans are exported"`
	Alerts    *Alerts            `yaml:"alerts" doc:"Conditions that call a person." soon:"no alerts are evaluated"`

	file      string
	hash      string
	positions map[string]Position
	given     map[string]bool   // paths with a value in the file
	written   map[string]string // what the file says where a variable was expanded
}

// Node names the process and says where it keeps what must survive it.
type Node struct {
	Name           string   `yaml:"name" doc:"Name in logs, metrics and the cluster. Default: the host name."`
	DataDir        string   `yaml:"data_dir" doc:"Directory for what must survive a restart. Default: ./data"`
	DrainTimeout   Duration `yaml:"drain_timeout" doc:"How long requests in flight, WebSockets and event streams may go on when the process stops or has been replaced by an upgrade. Default: 30s"`
	UpgradeTimeout Duration `yaml:"upgrade_timeout" doc:"How long a new process may take to be ready before an upgrade is given up. Default: 30s"`
}

// Listener is one address that accepts client traffic.
type Listener struct {
	Address        string           `yaml:"address" need:"true" doc:"host:port to listen on; an empty host means every address."`
	Redirect       string           `yaml:"redirect" enum:"https" doc:"Answer every request with a permanent redirect to HTTPS."`
	TrustedProxies []Prefix         `yaml:"trusted_proxies" doc:"Networks whose X-Forwarded-For, X-Forwarded-Proto, Forwarded and PROXY header are believed. Default: nobody."`
	ProxyProtocol  bool             `yaml:"proxy_protocol" doc:"Expect a PROXY protocol v1 or v2 header from trusted proxies." soon:"PROXY headers are not read"`
	HTTP3          bool             `yaml:"http3" doc:"Serve HTTP/3 on the same UDP port." soon:"HTTP/1.1 and HTTP/2 are served"`
	TLS            *TLS             `yaml:"tls" doc:"Serve TLS. Absent: plain HTTP."`
	Engine         string           `yaml:"engine" enum:"auto|nethttp" doc:"auto serves HTTP/1.1 with sluice's own front and leaves the rest to net/http; nethttp uses net/http for everything. Default: auto"`
	EncodedSlash   string           `yaml:"encoded_slash" enum:"refuse|keep" doc:"A path with %2F or %5C: refuse answers 400, because upstreams disagree about what it means; keep matches and forwards it as it is. Default: refuse"`
	Timeout        ListenerTimeouts `yaml:"timeout" doc:"How long a client may take."`
	MaxHeader      Size             `yaml:"max_header" min:"1KiB" max:"16MiB" doc:"Largest request line and header together; above it the answer is 431. Default: 64KiB"`
}

// ListenerTimeouts bound what a slow or silent client can hold.
type ListenerTimeouts struct {
	Header Duration `yaml:"header" min:"1ms" doc:"Time to receive the request line and header. Default: 10s"`
	Idle   Duration `yaml:"idle" min:"1ms" doc:"How long a kept-alive connection may wait for its next request. Default: 75s"`
}

// TLS holds the certificates of a listener and how it is spoken.
type TLS struct {
	Certificates []Certificate `yaml:"certificates" doc:"Certificate and key files, chosen by the name that the client asks for (SNI); the first is used when it asks for none."`
	ACME         *ACME         `yaml:"acme" doc:"Obtain certificates from an ACME authority." soon:"give certificate files"`
	MinVersion   string        `yaml:"min_version" enum:"1.2|1.3" doc:"Oldest TLS version accepted. Default: 1.2"`
}

// Certificate is a PEM certificate chain and its key, reloaded when the files change.
type Certificate struct {
	Cert string `yaml:"cert" need:"true" doc:"PEM file with the certificate and its chain."`
	Key  string `yaml:"key" need:"true" doc:"PEM file with the private key."`
}

// ACME is an automatic certificate account.
type ACME struct {
	Email   string   `yaml:"email" doc:"Contact of the account."`
	Domains []string `yaml:"domains" need:"true" doc:"Names to obtain certificates for."`
}

// Admin is the private listener.
type Admin struct {
	Address string     `yaml:"address" doc:"host:port of metrics, health and control. Default: 127.0.0.1:9090"`
	Token   Secret     `yaml:"token" doc:"Bearer token of the bootstrap operator. Absent: one is made at the first start and kept in DATA_DIR/admin.token, readable by the owner alone."`
	OIDC    *AdminOIDC `yaml:"oidc" doc:"Operators by the access tokens of an OpenID Connect provider, beside the token."`
}

// AdminOIDC is the identity provider of operators.
type AdminOIDC struct {
	Issuer     string `yaml:"issuer" need:"true" doc:"Issuer URL."`
	ClientID   string `yaml:"client_id" need:"true" doc:"Client id of the admin UI."`
	Audience   string `yaml:"audience" doc:"Value that must be in the aud claim. Absent: client_id."`
	RolesClaim string `yaml:"roles_claim" doc:"Claim that lists the operator's roles: viewer, operator or admin, or with sluice: in front. Absent: permissions."`
}

// Store is the SQL database.
type Store struct {
	URL Secret `yaml:"url" need:"true" doc:"sqlite://FILE or postgres://… The nodes of a cluster need a PostgreSQL, or one file when they are on one machine."`
}

// Redis is the authoritative sliding window.
type Redis struct {
	Addresses []string `yaml:"addresses" need:"true" doc:"host:port of a single server, of the sentinels, or of the cluster's nodes."`
	Master    string   `yaml:"master" doc:"Name of the primary, when the addresses are sentinels."`
	Cluster   bool     `yaml:"cluster" doc:"The addresses are nodes of a Redis Cluster."`
	Username  string   `yaml:"username" doc:"ACL user."`
	Password  Secret   `yaml:"password" doc:"Password."`
	Timeout   Duration `yaml:"timeout" min:"1ms" doc:"Longest wait for one call. Default: 50ms"`
}

// Cluster is the gossip between nodes.
type Cluster struct {
	Bind          string   `yaml:"bind" doc:"host:port for gossip, TCP and UDP. Default: 0.0.0.0:7946"`
	Advertise     string   `yaml:"advertise" doc:"IP address, with or without a port, at which other nodes reach this one. Absent: the bound address, or that of the default route."`
	Join          []string `yaml:"join" doc:"Addresses or DNS names of other nodes."`
	Secret        Secret   `yaml:"secret" need:"true" doc:"Key that encrypts and authenticates gossip: 16, 24 or 32 bytes, base64."`
	AcceptSecrets []Secret `yaml:"accept_secrets" doc:"Further keys that are accepted from other nodes, while keys are changed; at most two."`
	Label         string   `yaml:"label" doc:"Name of the cluster; nodes of another label are refused. Default: sluice"`
	Nodes         int      `yaml:"nodes" min:"1" doc:"How many nodes the cluster has. One that has just started keeps no quotas before it sees more than half of them. Absent: those that it sees, which is right unless nodes start while they cannot see each other."`
}

// Auth says whose credentials are believed.
type Auth struct {
	Issuers              []Issuer     `yaml:"issuers" doc:"Token issuers."`
	APIKeys              *APIKeys     `yaml:"api_keys" doc:"Keys for external integrations."`
	TenantHeader         TenantHeader `yaml:"tenant_header" doc:"Whether a header may name the tenant."`
	SuperAdminPermission string       `yaml:"super_admin_permission" doc:"Permission that exempts its holder from limits. Absent: nobody is exempt."`
	CacheTokens          int          `yaml:"cache_tokens" min:"0" doc:"How many verified tokens are remembered. Default: 100000"`
}

// Issuer is one OpenID Connect or OAuth 2.0 authority, such as an Auth0 tenant.
type Issuer struct {
	Issuer           string   `yaml:"issuer" need:"true" doc:"Exact value of the iss claim, with Auth0's closing slash."`
	Audience         string   `yaml:"audience" need:"true" doc:"Value that must be in the aud claim."`
	JWKSURL          string   `yaml:"jwks_url" doc:"Where the keys are: https, http or file:///… Default: the issuer + .well-known/jwks.json"`
	Algorithms       []string `yaml:"algorithms" doc:"Accepted signature algorithms. Default: [RS256, ES256, EdDSA]"`
	TenantClaim      string   `yaml:"tenant_claim" doc:"Claim with the tenant: the literal name first, then as a dotted path. Default: org_id"`
	TierClaim        string   `yaml:"tier_claim" doc:"Claim with the tier. Absent: the default tier."`
	PermissionsClaim string   `yaml:"permissions_claim" doc:"Claim with the permissions, a list or a space-separated text. Default: permissions"`
	Leeway           Duration `yaml:"leeway" max:"10m" doc:"Clock difference allowed in exp, nbf and iat. Default: 30s"`
}

// APIKeys says how keys are presented.
type APIKeys struct {
	Header string `yaml:"header" doc:"Header that carries the key. Default: X-API-Key"`
	Prefix string `yaml:"prefix" doc:"What every key starts with. Default: slc"`
}

// TenantHeader says whether a header may name the tenant of a request.
type TenantHeader struct {
	Name  string `yaml:"name" doc:"Header towards the services, and from trusted proxies. Default: X-Tenant-ID"`
	Trust string `yaml:"trust" enum:"never|trusted_proxies" doc:"Whose header names the tenant when the credential names none. One that contradicts the token is refused. Default: never"`
}

// Limit is an amount of requests per window, with an optional burst limit.
type Limit struct {
	Requests int64    `yaml:"requests" need:"true" min:"1" max:"2147483647" doc:"Requests per window."`
	Per      Duration `yaml:"per" min:"1s" max:"366d" doc:"Length of the window. Default: 1h"`
	Window   string   `yaml:"window" enum:"sliding|fixed" doc:"sliding: any trailing window holds at most the limit; fixed: the count starts anew when the clock reaches a multiple of the window. Default: sliding"`
	Burst    *Burst   `yaml:"burst" doc:"How fast the quota may be spent. Absent: at any speed."`
}

// Burst is a rate with a tolerance: size requests at once, then rate.
type Burst struct {
	Rate Rate  `yaml:"rate" need:"true" doc:"Sustained rate, such as 50/s or 600/m."`
	Size int64 `yaml:"size" min:"1" max:"2147483647" doc:"Requests that may come at once. Default: one second of the rate, at least 1."`
}

// RouteLimit is a limit of one route, counted for each of By.
type RouteLimit struct {
	Limit `yaml:",inline"`
	By    string `yaml:"by" enum:"tenant|subject|address|route" doc:"What is counted apart: each tenant (an anonymous caller counts by address), each subject, each client address, or the route as a whole. Default: tenant"`
}

// Limits says which limits hold for whom.
type Limits struct {
	DefaultTier string `yaml:"default_tier" doc:"Tier of a tenant whose token names none, or one that does not exist. Default: standard"`
	Anonymous   *Limit `yaml:"anonymous" doc:"Limit of callers without a tenant, by client address. Default: 100 requests an hour"`
	Address     *Limit `yaml:"address" doc:"Limit by client address before credentials are looked at. Absent: none."`
	Mode        string `yaml:"mode" enum:"enforce|shadow" doc:"enforce refuses; shadow counts and never refuses. Default: enforce"`
	Durable     bool   `yaml:"durable" doc:"A node without cluster and redis keeps on disk what tenants, subjects and routes have used, so that a crash or a restart begins no quota anew; at most 1 % of a quota is lost by a crash. With a cluster or redis the others remember. Default: true"`
	Partition   string `yaml:"partition" enum:"strict|available" doc:"When nodes of a cluster fail or are cut off: strict never admits above a limit and refuses rather; available goes on, and may exceed it by what the lost nodes had not reported. Default: strict"`
	Key         Secret `yaml:"key" doc:"What the names under which nodes count are hashed with: the same on all nodes, at least 16 characters. Another key starts all counts anew. Absent: made of the cluster's first secret and kept in limits.key in the data directory; needed when nodes share Redis without a cluster section."`
}

// Service is a named group of upstreams that can serve the same requests.
type Service struct {
	Upstreams []Upstream      `yaml:"upstreams" need:"true" doc:"Base URLs."`
	Protocol  string          `yaml:"protocol" enum:"auto|h2c" doc:"auto: HTTP/1.1, or what TLS agrees on; h2c: HTTP/2 without TLS, for gRPC. Default: auto"`
	Balance   string          `yaml:"balance" enum:"round_robin|least_request|two_choices|hash" doc:"How an upstream is chosen. hash keeps a tenant (or an anonymous address) on one. Default: least_request"`
	Host      string          `yaml:"host" doc:"Host header towards the upstream. Default: the client's."`
	Timeout   ServiceTimeouts `yaml:"timeout" doc:"How long the upstream may take."`
	Retry     Retry           `yaml:"retry" doc:"When another try is made."`
	Health    *Health         `yaml:"health" doc:"Active health checks. Absent: none."`
	Eject     *Eject          `yaml:"eject" doc:"Take an upstream out after errors. Absent: never."`
	MaxConns  int             `yaml:"max_connections" min:"1" doc:"Connections to each upstream at most. Default: 1024"`
	MaxIdle   int             `yaml:"max_idle" min:"1" doc:"Idle connections kept to each upstream at most. Default: 256"`
	TLS       *UpstreamTLS    `yaml:"tls" doc:"How https upstreams are verified."`
	OpenAPI   *OpenAPI        `yaml:"openapi" doc:"The service's OpenAPI document." soon:"requests are not validated"`
}

// Upstream is one address of a service: a URL, or a URL with a weight.
type Upstream struct {
	URL    string `yaml:"url" need:"true" short:"true" doc:"http:// or https:// with host, port and an optional path prefix."`
	Weight int    `yaml:"weight" min:"1" max:"1000000" doc:"Share of the traffic relative to the others. Default: 1"`
}

// ServiceTimeouts bound the stages of one exchange with an upstream.
type ServiceTimeouts struct {
	Connect Duration `yaml:"connect" min:"1ms" doc:"TCP and TLS. Default: 1s"`
	Header  Duration `yaml:"header" min:"1ms" doc:"From the request's end to the response header. Default: the request's"`
	Request Duration `yaml:"request" min:"1ms" doc:"The whole exchange; streams (SSE, WebSocket) are exempt once they run. Default: 30s"`
	Idle    Duration `yaml:"idle" min:"1ms" doc:"Longest silence of either side while a body or a tunnel is under way. Default: 60s"`
}

// Retry says when a failed try is repeated, on another upstream where there is one.
type Retry struct {
	Attempts int      `yaml:"attempts" min:"1" max:"10" doc:"Tries altogether. Default: 2; 1 means no retry."`
	Budget   Percent  `yaml:"budget" doc:"Retries at most, as a share of the requests of the last ten seconds. Default: 20%"`
	On       []string `yaml:"on" enum:"connect|502|503|504|reset|timeout" doc:"What is retried: connect (nothing was sent) for every method, the others for idempotent methods whose body is still whole. Default: [connect, reset]"`
}

// Health is an active health check.
type Health struct {
	Path      string   `yaml:"path" doc:"Path that answers 2xx or 3xx when healthy. Default: /health"`
	Interval  Duration `yaml:"interval" min:"100ms" doc:"Time between checks. Default: 5s"`
	Timeout   Duration `yaml:"timeout" min:"1ms" doc:"Longest wait for one. Default: 2s"`
	Unhealthy int      `yaml:"unhealthy" min:"1" doc:"Failures in a row that take the upstream out. Default: 2"`
	Healthy   int      `yaml:"healthy" min:"1" doc:"Successes in a row that bring it back. Default: 1"`
}

// Eject is passive outlier detection.
type Eject struct {
	Errors int      `yaml:"errors" min:"1" doc:"Failures in a row (no connection, reset, time-out, 502, 503, 504) that eject. Default: 5"`
	For    Duration `yaml:"for" min:"1s" doc:"How long; doubles each time, up to ten times. Default: 30s"`
	Max    Percent  `yaml:"max" doc:"Share of the service's upstreams that may be out at once. Default: 50%"`
}

// UpstreamTLS says how an https upstream is verified.
type UpstreamTLS struct {
	CA                 string `yaml:"ca" doc:"PEM file with the authorities to trust. Default: the system's"`
	ServerName         string `yaml:"server_name" doc:"Name to verify and to ask for. Default: the URL's host"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Accept any certificate. For tests only."`
}

// OpenAPI is where a service's API description is.
type OpenAPI struct {
	URL      string `yaml:"url" doc:"Where the document is."`
	File     string `yaml:"file" doc:"Or which file it is."`
	Validate string `yaml:"validate" enum:"off|report|requests" doc:"What is validated. Default: off"`
}

// Route sends the requests that it matches to a service.
type Route struct {
	Name       string            `yaml:"name" doc:"Name in logs and metrics. Default: its methods, host and path."`
	Path       string            `yaml:"path" need:"true" doc:"/exact, /prefix/*, or with {segments}: /orgs/{org}/items/*."`
	Host       string            `yaml:"host" doc:"Host name, or *.example.com for every name below. Absent: any."`
	Methods    []string          `yaml:"methods" doc:"Methods. Absent: any."`
	Headers    map[string]string `yaml:"headers" doc:"Headers that must have these values; * means present."`
	Tenants    []string          `yaml:"tenants" doc:"Only for these tenants. Needs auth required or optional."`
	Tiers      []string          `yaml:"tiers" doc:"Only for tenants of these tiers."`
	Service    string            `yaml:"service" need:"true" doc:"The service that answers."`
	ServiceFor ServiceFor        `yaml:"service_for" doc:"Another service for some tenants or tiers."`
	Strip      string            `yaml:"strip" doc:"Prefix taken off the path; the service sees it as X-Forwarded-Prefix."`
	Auth       string            `yaml:"auth" enum:"required|optional|none" doc:"required: 401 without a valid credential; optional: absent is fine, invalid is 401; none: credentials are not looked at. Default: required"`
	Require    []string          `yaml:"require" doc:"Permissions that the caller must all have."`
	Limit      *RouteLimit       `yaml:"limit" doc:"A further limit for this route."`
	Cost       int64             `yaml:"cost" min:"0" max:"2147483647" doc:"What one request takes from the quota; 0 takes nothing. Default: 1"`
	Timeout    Duration          `yaml:"timeout" min:"1ms" doc:"Whole exchange. Default: the service's timeout.request"`
	IP         IPLists           `yaml:"ip" doc:"Address lists of this route. A denied address needs the route's own allow list to pass; to admit some networks alone, deny 0.0.0.0/0 and ::/0."`
	MaxBody    Size              `yaml:"max_body" min:"1B" doc:"Largest request body; above it the answer is 413. Absent: any size."`
	SetHeaders map[string]string `yaml:"set_headers" doc:"Headers set on the request to the service; an empty value removes one."`
	WAF        *RouteWAF         `yaml:"waf" doc:"What differs in the firewall."`
}

// ServiceFor chooses another service by tenant, then by tier.
type ServiceFor struct {
	Tenants map[string]string `yaml:"tenants" doc:"Service by tenant."`
	Tiers   map[string]string `yaml:"tiers" doc:"Service by tier."`
}

// CORS is what browsers on other origins may do.
type CORS struct {
	Origins     []string `yaml:"origins" need:"true" doc:"Exact origins, https://*.example.com for every name below, or * alone without credentials."`
	Methods     []string `yaml:"methods" doc:"Methods. Default: [GET, HEAD, POST, PUT, PATCH, DELETE]"`
	Headers     []string `yaml:"headers" doc:"Request headers. Default: those that the browser asks for."`
	Expose      []string `yaml:"expose" doc:"Response headers that scripts may read. Default: [X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID]"`
	Credentials bool     `yaml:"credentials" doc:"Whether cookies and credentials may be sent."`
	MaxAge      Duration `yaml:"max_age" doc:"How long a browser remembers the answer. Default: 10m"`
}

// Headers are response headers that harden browsers.
type Headers struct {
	Preset string            `yaml:"preset" enum:"api|none" doc:"api: HSTS (on TLS), nosniff, frame-ancestors none, no-referrer, and no Server header. Default: none"`
	Set    map[string]string `yaml:"set" doc:"Headers to set; an empty value removes one."`
}

// WAF is the firewall.
type WAF struct {
	Mode      string               `yaml:"mode" enum:"off|detect|block" doc:"off, log only, or refuse. Default: off"`
	Paranoia  int                  `yaml:"paranoia" min:"1" max:"4" doc:"Core Rule Set paranoia level, 1 to 4. Default: 1"`
	Threshold int                  `yaml:"threshold" min:"1" max:"10000" doc:"Anomaly score from which a request is refused; a critical rule scores 5. Default: 5"`
	Rules     []string             `yaml:"rules" doc:"Files with rules of your own in SecLang, in order."`
	Limits    WAFLimits            `yaml:"limits" doc:"What a request may hold. Beyond it is refused, never cut off."`
	Engine    WAFEngine            `yaml:"engine" doc:"How much of the machine inspections may take at once."`
	Exclude   []WAFExclusion       `yaml:"exclude" doc:"Rules not applied somewhere."`
	Tenants   map[string]WAFTenant `yaml:"tenants" doc:"Other settings for some tenants."`
	IP        IPLists              `yaml:"ip" doc:"Address lists."`
	Bans      []Ban                `yaml:"bans" doc:"Who or what is shut out for a time, besides those that operators and the detector ban while the gateway runs."`
	Detector  Detector             `yaml:"detector" doc:"Finds who behaves like an attacker, and bans them for a time."`
	Geo       *Geo                 `yaml:"geo" doc:"Where addresses are, and which places are refused."`
}

// WAFLimits bound what an inspected request may hold.
type WAFLimits struct {
	Body       Size   `yaml:"body" min:"1KiB" max:"16MiB" doc:"Largest body that is inspected; it is held in memory. Default: 1MiB"`
	Over       string `yaml:"over" enum:"deny|pass" doc:"What happens to an inspected type above limits.body: deny answers 413; pass forwards the body without inspection and says so in the log. Default: deny"`
	Arguments  int    `yaml:"arguments" min:"1" max:"100000" doc:"Values in query and body together. Default: 1000"`
	NameLength Size   `yaml:"name_length" min:"16B" doc:"Longest name of an argument, with its path. Default: 512B"`
	Depth      int    `yaml:"depth" min:"1" max:"512" doc:"Nesting of JSON. Default: 32"`
	Parts      int    `yaml:"parts" min:"1" max:"10000" doc:"Parts of a multipart body. Default: 100"`
}

// WAFEngine bounds what inspections take of the machine.
type WAFEngine struct {
	Concurrency int      `yaml:"concurrency" min:"0" max:"4096" doc:"Inspections that need the engine, or have a large body, at once. 0, or absent: half of the processors."`
	Time        Duration `yaml:"time" min:"1ms" max:"1m" doc:"Longest that a request may wait for its inspection and be in it. Default: 500ms"`
	Overload    string   `yaml:"overload" enum:"refuse|pass" doc:"What happens to a request that could not be inspected in that time: refuse answers 503; pass forwards it uninspected and says so in the log. Default: refuse"`
}

// WAFTenant is what differs for one tenant.
type WAFTenant struct {
	Mode      string `yaml:"mode" enum:"off|detect|block" doc:"Mode for the tenant's requests. Absent: the route's."`
	Threshold int    `yaml:"threshold" min:"1" max:"10000" doc:"Score from which its requests are refused. Absent: the route's."`
}

// RouteWAF is what differs for one route.
type RouteWAF struct {
	Mode      string `yaml:"mode" enum:"off|detect|block" doc:"Mode of this route. Absent: that of waf.mode."`
	Paranoia  int    `yaml:"paranoia" min:"1" max:"4" doc:"Level of this route. Absent: that of waf.paranoia."`
	Threshold int    `yaml:"threshold" min:"1" max:"10000" doc:"Score from which a request is refused. Absent: that of waf.threshold."`
	Body      Size   `yaml:"body" min:"1KiB" max:"16MiB" doc:"Largest body that is inspected. Absent: that of waf.limits.body."`
	Over      string `yaml:"over" enum:"deny|pass" doc:"What happens above it. Absent: that of waf.limits.over."`
}

// WAFExclusion takes rules off a route, a tenant, or one argument.
type WAFExclusion struct {
	Route    string `yaml:"route" doc:"Route path or name. Absent: all."`
	Tenant   string `yaml:"tenant" doc:"Tenant. Absent: all."`
	Rule     int    `yaml:"rule" min:"1" doc:"Rule id. Either this or tag."`
	Tag      string `yaml:"tag" doc:"All rules with this tag, such as attack-sqli."`
	Argument string `yaml:"argument" doc:"Argument, such as json.note. Absent: all."`
	Reason   string `yaml:"reason" need:"true" doc:"Why, for whoever reads it next year."`
}

// Ban is an emergency switch in the file.
type Ban struct {
	Target string `yaml:"target" need:"true" doc:"An address or a network, or country=KP, asn=64496, tenant=, subject=, key=, route=, path=/api/export/* or agent=sqlmap."`
	Action string `yaml:"action" enum:"block|challenge|tarpit" doc:"block answers 403; challenge answers 429 with the time that is left; tarpit lets requests through after 3 seconds. Default: block"`
	Reason string `yaml:"reason" need:"true" doc:"Why, for whoever meets it at night."`
	Until  Time   `yaml:"until" need:"true" doc:"When it ends."`
}

// Detector says what is suspicious, and what follows.
type Detector struct {
	Mode               string        `yaml:"mode" enum:"off|observe|enforce" doc:"observe reports whom it would ban, in the security log and the metrics; enforce bans. Default: observe"`
	MaxFor             Duration      `yaml:"max_for" min:"1m" max:"365d" doc:"Longest ban. Each further one of the same target lasts twice as long as the one before. Default: 24h"`
	BruteForce         DetectorRule  `yaml:"brute_force" doc:"Failed authentications of one address, here or at a service (401). Absent: 20 per 10m, block for 15m."`
	CredentialStuffing DetectorRule  `yaml:"credential_stuffing" doc:"Different credentials of one address that failed. Absent: 10 per 10m, block for 30m."`
	Scanning           DetectorRule  `yaml:"scanning" doc:"Different paths of one address or subject that were refused or are missing (401, 403, 404, 405). Absent: 30 per 1m, block for 15m."`
	Attacks            DetectorRule  `yaml:"attacks" doc:"Requests of one address, subject or key in which the firewall found something. Absent: 10 per 10m, block for 30m."`
	Throttled          DetectorRule  `yaml:"throttled" doc:"Requests of one address, subject or key that a limit refused. Absent: 1000 per 1m, challenge for 5m."`
	Surge              DetectorSurge `yaml:"surge" doc:"A rate far above what an address, subject, key or tenant usually has."`
}

// DetectorRule bounds one kind of behaviour.
type DetectorRule struct {
	Count  int      `yaml:"count" min:"1" max:"1000000" doc:"From how many on. Different things are told apart up to about 1000."`
	Per    Duration `yaml:"per" min:"1s" max:"24h" doc:"Within what time."`
	Action string   `yaml:"action" enum:"observe|tarpit|challenge|block" doc:"observe reports alone; the others ban, as in waf.bans."`
	For    Duration `yaml:"for" min:"1s" max:"365d" doc:"How long the first ban lasts."`
}

// DetectorSurge compares a rate with its own past.
type DetectorSurge struct {
	Factor int      `yaml:"factor" min:"2" max:"1000" doc:"How many times what is usual. Default: 10"`
	Floor  Rate     `yaml:"floor" doc:"A rate that is never a surge. Default: 20/s"`
	Action string   `yaml:"action" enum:"observe|tarpit|challenge|block" doc:"Of an address, subject or key; surges of tenants are reported alone. Default: observe"`
	For    Duration `yaml:"for" min:"1s" max:"365d" doc:"How long the first ban lasts. Default: 5m"`
}

// IPLists refuse or always admit addresses.
type IPLists struct {
	Deny  []Prefix `yaml:"deny" doc:"Networks that are refused with 403."`
	Allow []Prefix `yaml:"allow" doc:"Networks that are never refused by deny."`
}

// Geo filters by country and autonomous system.
type Geo struct {
	Database string   `yaml:"database" need:"true" doc:"MMDB file with countries, as GeoLite2 Country, DB-IP or IPinfo; read again when it is replaced. It is held in memory."`
	ASN      string   `yaml:"asn" doc:"MMDB file with autonomous systems. Absent: that of database, if it has them."`
	Deny     []string `yaml:"deny" doc:"ISO 3166 country codes to refuse."`
	Allow    []string `yaml:"allow" doc:"If given, these countries alone are served. An address whose country is not known, as a private one, is then refused unless waf.ip.allow has it."`
	DenyASN  []int    `yaml:"deny_asn" doc:"Numbers of autonomous systems to refuse."`
}

// Logs are the log streams.
type Logs struct {
	Level    string               `yaml:"level" enum:"debug|info|warn|error" doc:"Level of the operational log on standard error. Default: info"`
	Format   string               `yaml:"format" enum:"auto|text|json" doc:"Form of the operational log; auto is text on a terminal and json elsewhere. Default: auto"`
	Access   AccessLog            `yaml:"access" doc:"One JSON line a request."`
	Security SecurityLog          `yaml:"security" doc:"One JSON line for each event of security."`
	Payload  PayloadLog           `yaml:"payload" doc:"Headers and bodies, redacted, for debugging. Off unless asked for, and then until a time."`
	Redact   Redact               `yaml:"redact" doc:"What is taken out of every log before it is written."`
	Outputs  map[string]LogOutput `yaml:"outputs" doc:"Where logs go beside their files, by name. One that is slow or down holds up no request and no other output."`
}

// AccessLog is the stream of one line per request.
type AccessLog struct {
	File    string   `yaml:"file" doc:"File, stdout, or off. Default: stdout"`
	Keep    Duration `yaml:"keep" min:"1m" doc:"How long rotated files are kept. Default: 14d"`
	MaxSize Size     `yaml:"max_size" min:"1MiB" doc:"Total size of the files. Default: 10GiB"`
}

// SecurityLog is the stream of what was seen and done against attacks.
type SecurityLog struct {
	File    string   `yaml:"file" doc:"File, stdout, or off. Absent: security.log in node.data_dir."`
	Keep    Duration `yaml:"keep" min:"1m" doc:"How long rotated files are kept. Default: 90d"`
	MaxSize Size     `yaml:"max_size" min:"1MiB" doc:"Total size of the files. Default: 1GiB"`
}

// PayloadLog is the stream of requests and answers with their headers and bodies.
type PayloadLog struct {
	File    string             `yaml:"file" doc:"File, stdout, or off. Absent: payload.log in node.data_dir."`
	Keep    Duration           `yaml:"keep" min:"1m" doc:"How long rotated files are kept. Default: 3d"`
	MaxSize Size               `yaml:"max_size" min:"1MiB" doc:"Total size of the files. Default: 1GiB"`
	MaxBody Size               `yaml:"max_body" min:"1B" max:"1MiB" doc:"What is kept of each body, after redaction. Default: 16KiB"`
	Sample  Percent            `yaml:"sample" doc:"Share of all requests that are captured; needs until. Default: 0%"`
	Until   Time               `yaml:"until" doc:"When sampling ends by itself, at most 7d ahead."`
	Capture map[string]Capture `yaml:"capture" doc:"Further requests to capture, by a name of your choice. The admin API makes such captures too, without a change of the file."`
}

// Capture chooses the requests whose payload is logged: those that meet every
// condition that is given.
type Capture struct {
	Route  string  `yaml:"route" doc:"Path or name of a route."`
	Tenant string  `yaml:"tenant" doc:"Tenant."`
	Status string  `yaml:"status" doc:"Status or class of the answer: 503, 5xx, or >=400."`
	Sample Percent `yaml:"sample" doc:"Share of these requests. Default: 100%"`
	Until  Time    `yaml:"until" need:"true" doc:"When the capture ends by itself, at most 7d ahead."`
}

// Redact says what is taken out of logs before they are written.
type Redact struct {
	Mode     string            `yaml:"mode" enum:"mask|hash|drop" doc:"What stands for a value that was taken out: its kind, its kind and a keyed hash by which equal values can be told, or nothing. Default: mask"`
	Key      Secret            `yaml:"key" doc:"Key of the hashes. Nodes with the same key give equal values equal hashes. Absent: a random one at every start."`
	Fields   []string          `yaml:"fields" doc:"Names of fields, headers and parameters whose values always go, beside those that are known."`
	Safe     []string          `yaml:"safe" doc:"Names whose values stay, such as order numbers that look like cards."`
	Patterns map[string]string `yaml:"patterns" doc:"Regular expressions by name; what they match goes."`
	Off      []string          `yaml:"off" enum:"field|email|phone|card|iban|id|ip|jwt|key|password|entropy" doc:"Detectors that are not used."`
}

// LogOutput is a place that log lines go to beside their file.
type LogOutput struct {
	Type     string            `yaml:"type" need:"true" enum:"stdout|syslog|json|loki|elasticsearch|otlp" doc:"How lines are sent: on standard output, as syslog messages (RFC 5424), or over HTTP as JSON lines (VictoriaLogs and others), to Loki, to the bulk API of Elasticsearch or OpenSearch, or by OTLP."`
	URL      string            `yaml:"url" doc:"Where to: udp://, tcp://, tls:// or unix:// for syslog, http:// or https:// for the others, with the path that the receiver documents."`
	Streams  []string          `yaml:"streams" enum:"access|security|payload" doc:"Which logs. Default: [access, security]"`
	Labels   map[string]string `yaml:"labels" doc:"Labels of Loki's stream or attributes of OTLP's resource, beside job, node and stream."`
	Index    string            `yaml:"index" doc:"Elasticsearch's index or data stream; the name of the log is added behind a dash. Default: sluice"`
	Headers  map[string]string `yaml:"headers" doc:"Header fields of the HTTP requests, such as X-Scope-OrgID."`
	Username string            `yaml:"username" doc:"User of HTTP basic authentication."`
	Password Secret            `yaml:"password" doc:"Its password."`
	Token    Secret            `yaml:"token" doc:"Bearer token of the HTTP requests."`
	Timeout  Duration          `yaml:"timeout" min:"10ms" doc:"Longest wait for one delivery. Default: 10s"`
	Buffer   Size              `yaml:"buffer" min:"64KiB" doc:"Lines that wait in memory. Default: 8MiB"`
	Spill    Size              `yaml:"spill" doc:"Lines that wait on disk, in node.data_dir, when the memory is full; 0 drops them instead. Default: 256MiB"`
}

// Traces is where spans go.
type Traces struct {
	OTLP   string  `yaml:"otlp" need:"true" doc:"OTLP/HTTP endpoint."`
	Sample Percent `yaml:"sample" doc:"Share of new traces that are sampled. Default: 1%"`
}

// Alerts call a person.
type Alerts struct {
	Webhooks []Webhook         `yaml:"webhooks" doc:"Where alerts are sent."`
	Rules    map[string]string `yaml:"rules" doc:"Conditions by name."`
}

// Webhook is one receiver of alerts.
type Webhook struct {
	URL Secret `yaml:"url" need:"true" doc:"Address that receives a POST."`
}

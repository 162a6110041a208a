package telemetry

// Keys of the operational log's attributes. A name means the same thing in
// every room, and the same as the field of that name in the access log.
const (
	KeyError      = "error"
	KeyPath       = "path"
	KeyFile       = "file"
	KeyName       = "name"
	KeyNode       = "node"
	KeyListener   = "listener"
	KeyAddress    = "address"
	KeyRoute      = "route"
	KeyService    = "service"
	KeyUpstream   = "upstream"
	KeyState      = "state"
	KeyTenant     = "tenant"
	KeyTier       = "tier"
	KeyPolicy     = "policy"
	KeyZone       = "zone"
	KeyIssuer     = "issuer"
	KeyKeyID      = "key_id"
	KeyReason     = "reason"
	KeyRequestID  = "request_id"
	KeyClient     = "client_ip"
	KeyMethod     = "method"
	KeyStatus     = "status"
	KeyDuration   = "duration"
	KeyCount      = "count"
	KeyBytes      = "bytes"
	KeyHash       = "hash"
	KeyVersion    = "version"
	KeyGeneration = "generation"
	KeyPID        = "pid"
	KeySignal     = "signal"
	KeyNotAfter   = "not_after"
	KeySuppressed = "suppressed"
)

// Results of a limit decision, in [Record].LimitResult and in the label result
// of sluice_limit_decisions_total.
const (
	LimitAdmit  = "admit"  // within the limit, and charged
	LimitRefuse = "refuse" // over it: 429
	LimitShadow = "shadow" // over it, but the mode only counts
	LimitExempt = "exempt" // not limited at all, such as a super admin
	LimitBypass = "bypass" // limited, but an operator's bypass is in force
)

// Zones of a limit decision: how far from its edge the limit was.
const (
	ZoneGreen = "green" // decided alone
	ZoneAmber = "amber" // spent a lease
	ZoneRed   = "red"   // asked the authority
)

// Ways to authenticate, in [Record].Auth and in the label method of
// sluice_auth_total.
const (
	AuthJWT       = "jwt"
	AuthKey       = "key"
	AuthAnonymous = "anonymous"
)

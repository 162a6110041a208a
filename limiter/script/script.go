// Package script holds the programs that the Redis authority runs: what
// core.Ledger does for one key (take), and the register of epochs and replicas
// (beat, claim, probe). They take time from the server and state from at most two keys
// of one slot.
package script

import _ "embed"

// The programs. Their arguments and answers are described at their heads.
var (
	//go:embed take.lua
	Take string
	//go:embed beat.lua
	Beat string
	//go:embed claim.lua
	Claim string
	//go:embed inspect.lua
	Inspect string
)

// Probe returns the epoch, and changes nothing: a replica that does not follow
// Redis must not look alive to it.
const Probe = "return redis.call('HGET', KEYS[1], 'epoch') or '0'"

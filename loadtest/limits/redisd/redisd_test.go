package redisd

import "testing"

func TestScriptCallsAreCounted(t *testing.T) {
	info := "# Commandstats\r\ncmdstat_evalsha:calls=120,usec=2,usec_per_call=1.0\r\ncmdstat_eval:calls=3,usec=9\r\ncmdstat_evalsha_ro:calls=7\r\ncmdstat_get:calls=50\r\n"
	if n := scriptCalls(info); n != 123 {
		t.Errorf("%d calls, want 123", n)
	}
}

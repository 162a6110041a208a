package load

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed wrk.lua
var script []byte

// Saturator drives wrk. wrk counts a status above 399 as an error and knows no
// 3xx from 2xx: see that the target answers 2xx before it is saturated.
type Saturator struct {
	program, script, tokens string
	target                  Target
}

// NewSaturator prepares load for target; program is wrk's path, dir keeps its
// script and tokens under name.
func NewSaturator(program, dir, name string, target Target) (*Saturator, error) {
	s := &Saturator{
		program: program, target: target,
		script: filepath.Join(dir, name+".lua"), tokens: filepath.Join(dir, name+".tokens"),
	}
	if err := os.WriteFile(s.script, script, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.tokens, []byte(strings.Join(target.Tokens, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

// Run sends as many requests as the target will take for d, rounded up to whole
// seconds, which is what wrk counts in.
func (s *Saturator) Run(ctx context.Context, d time.Duration) (Result, error) {
	cmd := exec.CommandContext(ctx, s.program,
		"--threads", "1", "--connections", strconv.Itoa(s.target.Conns), "--duration", wholeSeconds(d),
		"--timeout", "5s", "--script", s.script, "http://"+s.target.Address+s.target.Path, "--", s.tokens)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Result{}, fmt.Errorf("wrk: %w: %s", err, bytes.TrimSpace(out))
	}
	return parseWrk(out)
}

func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int((d+time.Second-1)/time.Second)) + "s"
}

// parseWrk reads the line that the script's done function writes.
func parseWrk(out []byte) (Result, error) {
	line := bytes.TrimSpace(out)
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i+1:]
	}
	var r struct{ Requests, Micros, Errors, P50, P99 int64 }
	if err := json.Unmarshal(line, &r); err != nil || r.Micros <= 0 {
		return Result{}, fmt.Errorf("wrk's result is not understood: %q", line)
	}
	return Result{
		Requests: r.Requests, Errors: r.Errors, Elapsed: time.Duration(r.Micros) * time.Microsecond,
		P50: time.Duration(r.P50) * time.Microsecond, P99: time.Duration(r.P99) * time.Microsecond,
	}, nil
}

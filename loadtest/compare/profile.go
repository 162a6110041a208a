package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sluice/loadtest/compare/load"
)

// profileLength is how long each gateway is profiled: thousands of samples.
const profileLength = 10 * time.Second

// profile writes a CPU profile of each sluice entry under its own load to dir,
// and what it has allocated, and returns the files of the former.
func (c *comparison) profile(ctx context.Context, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []string
	for _, e := range c.entries {
		if e.program != "sluice" {
			continue
		}
		say("profiling %s", e.name)
		loaded := make(chan error, 1)
		go func() {
			s, err := c.measure(ctx, e, func() (load.Result, error) {
				return e.small.Run(ctx, profileLength+2*time.Second) // outlasts the profile
			})
			if err == nil {
				say("%s: %.1f µs of CPU per request; a function costs its share of that", e.name, s.CPU)
			}
			loaded <- err
		}()
		time.Sleep(time.Second) // into the steady state
		data, err := e.adminGet(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(profileLength.Seconds())))
		if err = errors.Join(err, <-loaded); err != nil {
			return nil, fmt.Errorf("profile %s: %w", e.name, err)
		}
		file := filepath.Join(dir, e.name+".pprof")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
		// All allocations since the start, of which the probes are next to none.
		if data, err = e.adminGet(ctx, "/debug/pprof/allocs"); err != nil {
			return nil, fmt.Errorf("profile allocations of %s: %w", e.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, e.name+".allocs.pprof"), data, 0o644); err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, errors.New("profile: no sluice row was chosen")
	}
	return files, nil
}

// writePGO merges the profiles of all sluice entries into one file.
func (c *comparison) writePGO(ctx context.Context, path string) error {
	files, err := c.profile(ctx, c.rig.dir)
	if err != nil {
		return err
	}
	// Written beside, then renamed: a build never sees half a profile.
	part := path + ".part"
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-proto", "-output", part}, files...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("merge profiles: %w\n%s", err, out)
	}
	return os.Rename(part, path)
}

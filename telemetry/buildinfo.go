package telemetry

import (
	"runtime"
	"runtime/debug"
)

// buildInfo returns the label values of sluice_build_info.
func buildInfo(version string) []string {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return []string{version, revision, runtime.Version()}
}

package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"sluice/telemetry"
)

// The collector runs when the heap has grown by gcPercent over what was live.
// A gateway's live heap is small (tens of MiB) and its garbage short-lived, so
// that the default of 100 collects many times a second for nothing; 400 spends
// memory that a node has. The memory limit keeps that from mattering when it
// would: near it the collector works as often as it must.
const (
	gcPercent   = 400
	memoryShare = 0.8
)

// tuneMemory sets the collector by the machine or container, unless the
// operator has done so with GOGC and GOMEMLIMIT.
func tuneMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if available := memoryAvailable(); available > 0 {
		limit := int64(float64(available) * memoryShare)
		debug.SetMemoryLimit(limit)
		log.Debug("memory limit set", telemetry.KeyBytes, limit)
	}
}

// memoryAvailable is the memory of the container, or else of the machine, in
// bytes; 0 when it cannot be told.
func memoryAvailable() int64 {
	available := int64(math.MaxInt64)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if data, err := os.ReadFile(path); err == nil {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64); err == nil && n > 0 {
				available = min(available, n)
			}
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		if _, rest, ok := bytes.Cut(data, []byte("MemTotal:")); ok {
			if fields := bytes.Fields(rest[:min(len(rest), 64)]); len(fields) > 0 {
				if kib, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
					available = min(available, kib<<10)
				}
			}
		}
	}
	if available == math.MaxInt64 {
		return 0
	}
	return available
}

package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"sluice/telemetry"
)

// notify tells the service manager about this process (sd_notify(3)). Without one,
// that is without NOTIFY_SOCKET, it does nothing.
func notify(log *slog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a leading @ is an abstract name here as there
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		log.Warn("service manager not told", telemetry.KeyError, err)
	}
}

// notifyReady says that this process serves, and is the main one: after an upgrade
// it is not the one that the service manager started.
func notifyReady(log *slog.Logger, generation int) {
	notify(log, fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=serving, generation %d\n", os.Getpid(), generation))
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"sluice/telemetry"
)

func newServe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `serve runs the gateway until it is told to stop. It applies the configuration again
whenever the file changes; a file with errors is refused and the one in force stays.

Signals: TERM and INT stop taking requests, let those under way finish (at most
node.drain_timeout) and exit; a second INT exits at once. HUP applies the
configuration on disk.`,
		Example: "  sluice serve --config /etc/sluice/sluice.yaml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), path) },
	}
	configFlag(cmd, &path)
	return cmd
}

func serve(ctx context.Context, path string) error {
	doc, err := loadOrExplain(path)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(logLevel(doc.Logs.Level))
	log := telemetry.NewLogger(telemetry.LogOptions{Level: level, Format: doc.Logs.Format}, os.Stderr)
	slog.SetDefault(log) // libraries that log by themselves get the same form
	// Whoever reads our log may go away; that must not end the gateway.
	signal.Ignore(syscall.SIGPIPE)
	tuneMemory(log)

	a, err := newApp(doc, log, level)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := startAll(ctx, a.phases); err != nil {
		return err
	}
	pidFile := filepath.Join(doc.Node.DataDir, "sluice.pid")
	if err := writePID(pidFile); err != nil {
		log.Warn("pid file not written", telemetry.KeyFile, pidFile, telemetry.KeyError, err)
	}
	defer os.Remove(pidFile)
	log.Info("ready", telemetry.KeyNode, doc.Node.Name, telemetry.KeyVersion, version, telemetry.KeyHash, doc.Hash(), "admin", a.adminSocket.Addr().String())

	for stopping := false; !stopping; {
		select {
		case <-ctx.Done():
			stopping = true
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				a.reloader.Reload(ctx)
			default:
				log.Info("stopping: requests under way may finish", telemetry.KeySignal, s.String())
				stopping = true
			}
		}
	}
	return a.stop(signals)
}

// stop runs the phases backwards; a second interrupt does not wait for them.
func (a *app) stop(signals <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() { done <- stopAll(a.phases, a.log) }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if s == syscall.SIGINT {
				return fmt.Errorf("stopped at once by a second interrupt; requests under way were cut off")
			}
		}
	}
}

// writePID replaces path as a whole, so that no reader sees half a number.
func writePID(path string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// logLevel is the level that a word of logs.level means.
func logLevel(word string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelInfo // conf admits no other word
	}
	return l
}

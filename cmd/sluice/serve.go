package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/conf"
	"sluice/telemetry"
)

func newServe() *cobra.Command {
	var path string
	var withStdin bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `serve runs the gateway until it is told to stop. It applies the configuration again
whenever the file changes; a file with errors is refused and the one in force stays.

Signals: TERM and INT stop taking requests, let those under way finish (at most
node.drain_timeout) and exit; a second INT exits at once. HUP replaces the process by
one of the binary and the configuration on disk, without losing a request; see
sluice upgrade, which says what came of it.`,
		Example: "  sluice serve --config /etc/sluice/sluice.yaml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), path, withStdin) },
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&withStdin, "stop-with-stdin", false, "stop when standard input ends, as by TERM")
	if err := cmd.Flags().MarkHidden("stop-with-stdin"); err != nil {
		panic("BUG: " + err.Error())
	}
	return cmd
}

// defaultUpgradeTimeout holds when the configuration cannot be read, in a process
// that will not come to upgrade.
const defaultUpgradeTimeout = 30 * time.Second

func serve(ctx context.Context, path string, withStdin bool) error {
	doc, problems := conf.Load(path)
	timeout := defaultUpgradeTimeout
	if doc != nil && problems.Err() == nil {
		timeout = doc.Node.UpgradeTimeout.Std()
	}
	line, err := joinLine(timeout)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		if err := explain(os.Stderr, path, problems); err != nil {
			return line.fail(err)
		}
	}
	if err := problems.Err(); err != nil {
		line.fail(fmt.Errorf("the configuration has errors: %w", err)) //nolint:errcheck // explained above
		return errReported
	}
	level := new(slog.LevelVar)
	level.Set(logLevel(doc.Logs.Level))
	redactor, err := newRedactor(&doc.Logs.Redact)
	if err != nil {
		return line.fail(err)
	}
	log := telemetry.NewLogger(telemetry.LogOptions{Level: level, Format: doc.Logs.Format, Redact: redactor}, os.Stderr)
	slog.SetDefault(log) // libraries that log by themselves get the same form
	// Whoever reads our log may go away; that must not end the gateway.
	signal.Ignore(syscall.SIGPIPE)
	tuneMemory(log)

	a, err := newApp(doc, log, level, line)
	if err != nil {
		return line.fail(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := startAll(ctx, a.phases); err != nil {
		return line.fail(err)
	}
	defer removePID(pidFile(doc))
	notifyReady(log, line.generation)
	return a.live(ctx, signals, withStdin)
}

// readyLook is how often a node that has started looks whether it is ready.
const readyLook = 50 * time.Millisecond

// sayReady logs that the node is ready when /readyz first says so, and before, when
// that has to wait, what for.
func (a *app) sayReady(ctx context.Context) error {
	tick := time.NewTicker(readyLook)
	defer tick.Stop()
	doc, _ := a.reloader.document()
	about := []any{telemetry.KeyNode, doc.Node.Name, telemetry.KeyVersion, version, telemetry.KeyHash, doc.Hash(),
		telemetry.KeyGeneration, a.line.generation, "admin", a.adminSocket.Addr().String()}
	for said := false; ; said = true {
		ready, reasons := a.health.Ready()
		if ready {
			a.log.Info("ready", about...)
			return nil
		}
		if !said {
			a.log.Info("started; not ready yet", append(about, telemetry.KeyReason, fmt.Sprint(reasons))...)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// live serves until the process is told to stop or has been replaced, and then
// drains.
func (a *app) live(ctx context.Context, signals <-chan os.Signal, withStdin bool) error {
	var stdin <-chan struct{}
	if withStdin {
		stdin = endOf(os.Stdin)
	}
	for {
		select {
		case <-ctx.Done():
			return a.stop(signals)
		case <-stdin:
			a.log.Info("stopping: standard input has ended")
			return a.stop(signals)
		case s := <-a.upgrader.replaced:
			return a.leave(signals, s)
		case s := <-signals:
			if s == syscall.SIGHUP {
				a.upgrader.request()
				continue
			}
			a.log.Info("stopping: requests under way may finish", telemetry.KeySignal, s.String())
			return a.stop(signals)
		}
	}
}

// endOf returns a channel that is closed when nothing more can be read from f.
func endOf(f *os.File) <-chan struct{} {
	end := make(chan struct{})
	go func() { // for as long as the process
		defer close(end)
		_, _ = io.Copy(io.Discard, f) // an error is an end too
	}()
	return end
}

// stop ends the process's service for good.
func (a *app) stop(signals <-chan os.Signal) error {
	notify(a.log, "STOPPING=1\nSTATUS=draining\n")
	a.health.Set("draining", errors.New("this node is stopping"))
	a.line.upgrades.Stop() // a successor that is starting has come for nothing
	return a.wind(signals, 1)
}

// leave ends what this process still has, after a successor took its place.
func (a *app) leave(signals <-chan os.Signal, s *succession) error {
	a.log.Info("replaced: requests under way may finish", "successor", s.next.PID,
		telemetry.KeyGeneration, a.line.generation+1, telemetry.KeyVersion, s.next.Version)
	a.health.Set("draining", fmt.Errorf("process %d has taken over", s.next.PID))
	a.idle = upgradeIdle
	ctx, cancel := context.WithCancel(context.Background())
	reports := goRun(func(context.Context) error { s.report(ctx); return nil })
	// The admin address is the successor's from here on.
	go a.adminServer.Shutdown(ctx) //nolint:errcheck // stopAdmin does it again and says so
	err := a.wind(signals, 2)
	cancel()
	<-reports.done
	s.wire.conn.Close()
	return err
}

// wind runs the phases backwards, and does not wait for them after so many
// interrupts.
func (a *app) wind(signals <-chan os.Signal, interrupts int) error {
	done := make(chan error, 1)
	go func() { done <- stopAll(a.phases, a.log) }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			switch s {
			case syscall.SIGINT:
				if interrupts--; interrupts > 0 {
					continue
				}
				return fmt.Errorf("stopped at once by a second interrupt; requests under way were cut off")
			case syscall.SIGHUP:
				a.upgrader.request()
			}
		}
	}
}

// logLevel is the level that a word of logs.level means.
func logLevel(word string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelInfo // conf admits no other word
	}
	return l
}

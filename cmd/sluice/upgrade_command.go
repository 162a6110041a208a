package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/conf"
)

func newUpgrade() *cobra.Command {
	var path string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running gateway by the binary and the configuration on disk",
		Long: `upgrade asks the gateway that runs with this configuration file (by SIGHUP, to the
process in node.data_dir/sluice.pid) to start the binary on disk with the
configuration on disk, and waits. The new process takes over all sockets and counts,
and says that it is ready; then the old one finishes what it has. No connection is
refused and no quota starts anew.

When the new process does not get ready, the old one goes on as if nothing had
happened, and upgrade says why and exits with 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return upgrade(ctx, cmd.OutOrStdout(), path)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().DurationVar(&wait, "wait", 3*time.Minute, "how long to wait for the outcome, a draining predecessor included")
	return cmd
}

func upgrade(ctx context.Context, w io.Writer, path string) error {
	doc, err := loadToAsk(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Nothing was changed: the running gateway goes on.")
		return err
	}
	file := ledgerFile(doc)
	before, err := readLedger(file)
	if err != nil {
		return fmt.Errorf("read the record of upgrades: %w", err)
	}
	pid, err := runningPID(doc)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	said := ""
	for ticket := 0; ; {
		now, err := readLedger(file)
		if err != nil {
			return fmt.Errorf("read the record of upgrades: %w", err)
		}
		if ticket == 0 && now.Requested > before.Requested {
			ticket = now.Requested // ours, or one that came at the same moment
		}
		if ticket > 0 {
			if a, done := now.of(ticket); done {
				return a.tell(w, doc)
			}
			if now.Queued != "" && now.Queued != said {
				said = now.Queued
				fmt.Fprintf(w, "queued: %s\n", said)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("no outcome yet; it will be in " + file + " and in the gateway's log")
		}
		if syscall.Kill(pid, 0) != nil {
			if other, err := runningPID(doc); err != nil || other == pid {
				return fmt.Errorf("process %d has ended, and no other serves; its log says why", pid)
			} else {
				pid = other
			}
		}
	}
}

// tell says what came of an attempt.
func (a attempt) tell(w io.Writer, doc *conf.Document) error {
	if !a.OK {
		return fmt.Errorf("upgrade failed: %s\nprocess %d (%s) goes on", a.Reason, a.From, a.FromVersion)
	}
	fmt.Fprintf(w, "upgraded: process %d (%s) serves as generation %d, ready after %d ms; process %d (%s) finishes what it has, at most %v\n",
		a.To, a.ToVersion, a.Generation, a.TookMS, a.From, a.FromVersion, doc.Node.DrainTimeout.Std())
	return nil
}

func pidFile(doc *conf.Document) string { return filepath.Join(doc.Node.DataDir, "sluice.pid") }

// runningPID returns the process that serves with doc.
func runningPID(doc *conf.Document) (int, error) {
	pid, err := readPID(pidFile(doc))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("no gateway runs with this configuration: there is no %s", pidFile(doc))
	case err != nil:
		return 0, fmt.Errorf("read the pid file: %w", err)
	}
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return 0, fmt.Errorf("no gateway runs with this configuration: process %d of %s has ended", pid, pidFile(doc))
	}
	return pid, nil
}

func readPID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid < 1 {
		err = fmt.Errorf("%d is no process", pid)
	}
	return pid, err
}

func writePID(path string) error {
	return replaceFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"))
}

// removePID removes the file unless another process has taken over.
func removePID(path string) {
	if pid, err := readPID(path); err == nil && pid == os.Getpid() {
		os.Remove(path)
	}
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// run chooses what to do by the first argument.
func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "":
		return compare(ctx, args)
	case "soak":
		return soak(ctx, args)
	case "idle":
		return idle(ctx, args)
	case responderCommand:
		return runResponder(ctx, args)
	case reverseProxyCommand:
		return runReverseProxy(ctx, args)
	default:
		return fmt.Errorf("unknown command %q: soak, idle, or none to compare", command)
	}
}

// Command sluice is an API gateway for multi-tenant platforms.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sluice/internal/hush"
)

// version is set by the linker (make build); a build without it says dev.
var version = "dev"

// Exit codes of every command.
const (
	exitRefused = 1 // the command ran and the answer is no
	exitUsage   = 2 // the command line is wrong
)

// errReported is returned by a command that has told its user already.
var errReported = errors.New("reported")

// usageError marks errors of the command line, as against those of the work.
type usageError struct{ error }

func main() {
	hush.End()
	os.Exit(run(context.Background(), os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitRefused
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "sluice: %v\nTry 'sluice --help'.\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "sluice: %v\n", err)
	return exitRefused
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "An API gateway for multi-tenant platforms",
		Long: `sluice routes, authenticates and limits the requests of many tenants in front of
your services. One YAML file says what is where:

  sluice demo                       a whole set-up on this machine, to try it
  sluice check sluice.yaml          say all that is wrong with a configuration
  sluice serve --config sluice.yaml run the gateway
  sluice reload                     apply the changed configuration at once
  sluice upgrade                    put a new binary in place of the running one`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newDemo(), newCheck(), newReload(), newCluster(), newTenant(), newTier(), newKey(), newBypass(), newAudit(), newExport(), newApply(), newBan(), newAllow(), newAddressList(), newRule(), newUpgrade(), newTop(), newVersion())
	return root
}

// noArgs refuses positional arguments, naming the first.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s does not know what %q means", cmd.CommandPath(), args[0])}
	}
	return nil
}

// configFlag adds --config, completed with YAML files.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "sluice.yaml", "configuration file")
	if err := cmd.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic("BUG: " + err.Error())
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"sluice/admin"
	"sluice/conf"
)

func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration on disk to the running gateway",
		Long: `reload tells the gateway that runs with this configuration file to apply it now, and
says what came of it. A file with errors is refused as a whole: the gateway goes on
with the one in force, and reload exits with 1.`,
		Args: noArgs,
	}
	target := addAdminFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return reload(cmd.Context(), cmd.OutOrStdout(), target) }
	return cmd
}

func reload(ctx context.Context, w io.Writer, target *adminFlags) error {
	// A file with errors still has to tell where the gateway listens, so its own
	// check comes first and says what is wrong with line and column.
	client, err := target.client()
	if err != nil {
		return err
	}
	var outcome admin.Reloaded
	_, err = client.call(ctx, http.MethodPost, "/api/v1/config:reload", nil, &outcome)
	answer, refused := errors.AsType[*apiError](err)
	refused = refused && answer.Status == http.StatusUnprocessableEntity
	if err != nil && !refused {
		return err
	}
	if len(outcome.Problems) > 0 {
		if err := explain(os.Stderr, target.config, outcome.Problems); err != nil {
			return err
		}
	}
	switch {
	case refused:
		return errReported
	case outcome.Changed:
		fmt.Fprintf(w, "applied: configuration %s is in force\n", outcome.Hash)
	default:
		fmt.Fprintf(w, "nothing to do: configuration %s is in force already\n", outcome.Hash)
	}
	return nil
}

// knownToken is the operator's token as a command finds it: it makes none.
func knownToken(doc *conf.Document) (conf.Secret, error) {
	if doc.Admin.Token == "" {
		if _, err := os.Stat(tokenFile(doc)); err != nil {
			return "", fmt.Errorf("no operator token: admin.token is not set, and the gateway has not made one (%w)", err)
		}
	}
	return operatorToken(doc)
}

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sluice/admin"
	"sluice/conf"
)

func newReload() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration on disk to the running gateway",
		Long: `reload tells the gateway that runs with this configuration file to apply it now, and
says what came of it. A file with errors is refused as a whole: the gateway goes on
with the one in force, and reload exits with 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return reload(cmd.Context(), cmd.OutOrStdout(), path) },
	}
	configFlag(cmd, &path)
	return cmd
}

func reload(ctx context.Context, w io.Writer, path string) error {
	// A file with errors still has to tell where the gateway listens, so its own
	// check comes first and says what is wrong with line and column.
	doc, err := loadToAsk(path)
	if err != nil {
		return err
	}
	var outcome admin.Reloaded
	status, err := callAdmin(ctx, doc, http.MethodPost, "/api/v1/config:reload", nil, &outcome)
	if err != nil {
		return err
	}
	if len(outcome.Problems) > 0 {
		if err := explain(os.Stderr, path, outcome.Problems); err != nil {
			return err
		}
	}
	switch {
	case status == http.StatusUnprocessableEntity:
		return errReported
	case outcome.Changed:
		fmt.Fprintf(w, "applied: configuration %s is in force\n", outcome.Hash)
	default:
		fmt.Fprintf(w, "nothing to do: configuration %s is in force already\n", outcome.Hash)
	}
	return nil
}

// callAdmin asks the admin listener of the gateway that doc configures.
func callAdmin(ctx context.Context, doc *conf.Document, method, path string, content io.Reader, answer any) (status int, err error) {
	token, err := knownToken(doc)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+reachable(doc.Admin.Address)+path, content)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, fmt.Errorf("the gateway does not answer on %s; is it running with this configuration? (%w)", doc.Admin.Address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnprocessableEntity:
		return resp.StatusCode, json.Unmarshal(body, answer)
	case http.StatusUnauthorized:
		return 0, fmt.Errorf("the gateway on %s refused the operator's token: it runs with another admin.token or data directory", doc.Admin.Address)
	}
	var refused struct{ Detail string }
	if json.Unmarshal(body, &refused) == nil && refused.Detail != "" {
		return 0, errors.New(refused.Detail)
	}
	return 0, fmt.Errorf("the gateway on %s answered %s: %s", doc.Admin.Address, resp.Status, body)
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

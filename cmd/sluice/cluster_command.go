package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show the cluster and who holds what of a quota, and change the gossip key",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	show := func(use, short string, table func(io.Writer, clusterStatus)) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			var s clusterStatus
			client, err := target.client()
			if err != nil {
				return err
			}
			if _, err := client.call(cmd.Context(), http.MethodGet, "/api/v1/cluster", nil, &s); err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), s, func(w io.Writer) { table(w, s) })
		}}
	}
	cmd.AddCommand(
		show("status", "Members, clocks, gossip and who keeps the books of limits, as this node sees them", printStatus),
		show("members", "The members alone", printMembers),
		newKeyring(target, out),
		newQuota(target, out))
	return cmd
}

func newKeyring(target *adminFlags, out *outputFlag) *cobra.Command {
	keyring := &cobra.Command{
		Use:   "keyring",
		Short: "Which member has which gossip key, by fingerprint; and changing the key",
		Long: `Without a subcommand, keyring asks every member which keys it has.

To change the key of a cluster without a pause: install the new key, use it, write
it into every node's configuration, and remove the old one.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return keys(cmd, target, out, http.MethodGet, "/api/v1/cluster/keys", nil)
		},
	}
	keyring.AddCommand(&cobra.Command{
		Use: "install", Short: "Give every member a further key, read from standard input", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Not an argument: those are for every user of the machine to see.
			text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<10))
			if err != nil {
				return err
			}
			return keys(cmd, target, out, http.MethodPost, "/api/v1/cluster/keys:install", map[string]string{"secret": strings.TrimSpace(string(text))})
		},
	})
	for action, short := range map[string]string{"use": "Have every member encrypt with an installed key", "remove": "Have every member forget a key"} {
		keyring.AddCommand(&cobra.Command{
			Use: action + " FINGERPRINT", Short: short,
			Args: func(_ *cobra.Command, args []string) error {
				if len(args) != 1 {
					return usageError{fmt.Errorf("keyring %s takes one fingerprint; sluice cluster keyring lists them", action)}
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				return keys(cmd, target, out, http.MethodPost, "/api/v1/cluster/keys:"+action, map[string]string{"fingerprint": args[0]})
			},
		})
	}
	return keyring
}

func keys(cmd *cobra.Command, target *adminFlags, out *outputFlag, method, resource string, body any) error {
	var list []keyStatus
	client, err := target.client()
	if err != nil {
		return err
	}
	if _, err := client.call(cmd.Context(), method, resource, body, &list); err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), list, func(w io.Writer) {
		fmt.Fprintln(w, "MEMBER\tUSES\tACCEPTS\tERROR")
		for _, k := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Name, k.Primary, strings.Join(k.Keys, " "), k.Error)
		}
	})
}

func printMembers(w io.Writer, s clusterStatus) {
	fmt.Fprintln(w, "MEMBER\tSTATE\tADDRESS\tSINCE\tVERSION\tGENERATION")
	for _, m := range s.Members {
		name := m.Name
		if m.Self {
			name += " (this node)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", name, m.State, m.Address, m.Since.Format(time.RFC3339), m.Version, m.Generation)
	}
}

func printStatus(w io.Writer, s clusterStatus) {
	printMembers(w, s)
	fmt.Fprintln(w, "\nPEER\tCLOCK AHEAD\tROUND TRIP")
	for _, p := range s.Peers {
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f ms\n", p.Name, p.SkewMS, p.RTTMS)
	}
	printLimits(w, &s.Limits)
	fmt.Fprintf(w, "\nfacts\t%d\n", s.Facts)
	fmt.Fprintf(w, "gossip received\t%d bytes\ngossip sent\t%d bytes\n", s.Gossip.BytesIn, s.Gossip.BytesOut)
	for reason, n := range s.Dropped {
		if n > 0 {
			fmt.Fprintf(w, "dropped: %s\t%d\n", reason, n)
		}
	}
}

// printLimits says who keeps the books.
func printLimits(w io.Writer, l *limitsStatus) {
	state := "grants"
	switch {
	case l.Fenced && l.Epoch != 0:
		state = "out of reach for 10 s: this node spends nothing"
	case !l.Ready:
		state = "grants nothing at the moment"
	}
	fmt.Fprintf(w, "\nlimits\t%s, epoch %d, %s\n", l.Authority, l.Epoch, state)
	fmt.Fprintf(w, "keys here\t%d, books %d\n", l.Keys, l.Books)
	fmt.Fprintf(w, "asked\t%d for rights, %d to report; %d recalls, %d reclaims\n", l.Takes, l.Reports, l.Recalls, l.Reclaims)
	if r := l.Redis; r != nil {
		up := "answers"
		if !r.Up {
			up = "does not answer"
		}
		fmt.Fprintf(w, "redis\t%s %s, last in %.1f ms, %d errors\n", strings.Join(r.Addresses, " "), up, r.LatencyMS, r.Errors)
	}
}

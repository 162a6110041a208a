package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sluice/admin"
)

// entryList is what differs between ban and allow.
type entryList struct {
	word, resource, verb string
	bans                 bool
}

func newBan() *cobra.Command {
	cmd := newEntryList(entryList{"ban", "/api/v1/bans", "shut out", true})
	cmd.Short = "Shut out addresses, countries, tenants, keys, routes and more, on every node, for a time"
	cmd.Long = `A ban holds on every node within a second, survives restarts and ends by itself.
TARGET is an address or a network, or one of

  country=KP  asn=64496  tenant=acme  subject=auth0|7  key=PUBLIC_PART
  route=NAME  path=/api/export/*      agent=sqlmap

An allowance wins over every ban; see sluice allow.`
	cmd.Example = `  sluice ban add 203.0.113.0/24 --for 1h --reason "credential stuffing, ticket 7"
  sluice ban list
  sluice ban remove 203.0.113.0/24`
	return cmd
}

func newAllow() *cobra.Command {
	cmd := newEntryList(entryList{"allow", "/api/v1/allowances", "let in", false})
	cmd.Short = "Let an address, a network, a tenant, a subject or a key in, whatever is banned"
	cmd.Long = `An allowance wins over every ban and denylist. One of an identity, as tenant=acme,
subject=auth0|7 or key=PUBLIC_PART, holds once its credential has been verified, also
from an address that is banned.`
	cmd.Example = `  sluice allow add 198.51.100.0/28 --for 30d --reason "office"
  sluice allow list`
	return cmd
}

func newEntryList(l entryList) *cobra.Command {
	cmd := &cobra.Command{Use: l.word, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	cmd.AddCommand(l.add(target, out), l.list(target, out), l.remove(target))
	return cmd
}

func oneTarget(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one TARGET, as 203.0.113.0/24 or tenant=acme", cmd.CommandPath())}
	}
	return nil
}

func (l entryList) add(target *adminFlags, out *outputFlag) *cobra.Command {
	var action, lasts, until, reason string
	var dry bool
	cmd := &cobra.Command{Use: "add TARGET", Short: "To " + l.verb + " a target from now on", Args: oneTarget}
	flags := cmd.Flags()
	flags.StringVar(&lasts, "for", "", "how long: 30m, 12h, 7d")
	flags.StringVar(&until, "until", "", "until when, instead: 2026-12-31T18:00:00Z")
	flags.StringVar(&reason, "reason", "", "why, for whoever meets it at night (required)")
	flags.BoolVar(&dry, "dry-run", false, "say what would be written, and write nothing")
	if l.bans {
		flags.StringVar(&action, "action", "block", "block (403), challenge (429) or tarpit (late)")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case reason == "":
			return usageError{fmt.Errorf("--reason is needed: whoever meets this at night wants to know why")}
		case (lasts == "") == (until == ""):
			return usageError{fmt.Errorf("say for how long, by --for 1h, or until when, by --until 2026-12-31T18:00:00Z")}
		}
		body := map[string]string{"target": args[0], "reason": reason}
		for name, value := range map[string]string{"for": lasts, "until": until, "action": action} {
			if value != "" {
				body[name] = value
			}
		}
		client, err := target.client()
		if err != nil {
			return err
		}
		resource := l.resource
		if dry {
			resource += "?dry_run=true"
		}
		var made admin.Ban
		if _, err := client.call(cmd.Context(), http.MethodPost, resource, body, &made); err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), made, func(w io.Writer) { l.table(w, []admin.Ban{made}) })
	}
	return cmd
}

func (l entryList) list(target *adminFlags, out *outputFlag) *cobra.Command {
	var kind, source string
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "What is in force", Args: noArgs}
	cmd.Flags().StringVar(&kind, "kind", "", "this kind alone: address, country, asn, tenant, subject, key, route, path, agent")
	if l.bans {
		cmd.Flags().StringVar(&source, "source", "", "those of this author alone: operator, detector, file")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := target.client()
		if err != nil {
			return err
		}
		query := url.Values{}
		for name, value := range map[string]string{"kind": kind, "source": source} {
			if value != "" {
				query.Set(name, value)
			}
		}
		all, err := listAll[admin.Ban](cmd.Context(), client, l.resource, query)
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), all, func(w io.Writer) { l.table(w, all) })
	}
	return cmd
}

func (l entryList) remove(target *adminFlags) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "remove TARGET", Aliases: []string{"rm"}, Short: "To end it at once", Args: oneTarget}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := target.client()
		if err != nil {
			return err
		}
		return l.end(cmd.Context(), client, args[0], reason)
	}
	return cmd
}

func (l entryList) end(ctx context.Context, client *adminClient, name, reason string) error {
	resource := l.resource + "/" + url.PathEscape(name)
	if reason != "" {
		resource += "?" + url.Values{"reason": {reason}}.Encode()
	}
	_, err := client.call(ctx, http.MethodDelete, resource, nil, nil)
	return err
}

func (l entryList) table(w io.Writer, all []admin.Ban) {
	if l.bans {
		fmt.Fprintln(w, "TARGET\tACTION\tLEFT\tHITS\tBY\tREASON")
	} else {
		fmt.Fprintln(w, "TARGET\tLEFT\tBY\tREASON")
	}
	for _, b := range all {
		by := b.By
		if by == "" {
			by = b.Source
		}
		left := time.Until(b.Until).Round(time.Second)
		if l.bans {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", b.Target, b.Action, left, b.Hits, by, b.Reason)
		} else {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", b.Target, left, by, b.Reason)
		}
	}
}

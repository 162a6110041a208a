package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"sluice/admin"
)

func newBypass() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bypass", Short: "In an emergency, have limits refuse nothing for a while",
		Long: `A bypass holds on every node within a second, with or without the database, and ends by
itself. Requests are still counted, so that limits hold again as if nothing had been.`,
		Example: `  sluice bypass on --tenant acme --for 30m --reason "incident 7: their retry storm is our fault"
  sluice bypass on --all --for 15m --reason "limits misconfigured"
  sluice bypass off k3v9q2xw7d`,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[admin.Bypass]{target, out, printBypasses}
	var reason string
	off := &cobra.Command{Use: "off BYPASS", Short: "End a bypass", Args: one("BYPASS"), RunE: func(cmd *cobra.Command, args []string) error {
		path := resource("bypasses", args[0])
		if reason != "" {
			path += "?" + filters("reason", reason).Encode()
		}
		return drop(cmd, target, path, "limits hold again")
	}}
	off.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.AddCommand(bypassOn(a), off,
		&cobra.Command{Use: "list", Aliases: []string{"ls", "status"}, Short: "The bypasses in force", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, "/api/v1/bypasses", nil)
		}})
	return cmd
}

func bypassOn(a asked[admin.Bypass]) *cobra.Command {
	var tenant, route, lasts, reason string
	var all bool
	cmd := &cobra.Command{Use: "on", Short: "Start a bypass, for a tenant, a route, both, or everybody", Args: noArgs}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "for this tenant")
	f.StringVar(&route, "route", "", "for this route, by its name")
	f.BoolVar(&all, "all", false, "for everybody")
	f.StringVar(&lasts, "for", "", "how long: 15m, 2h; 24h at most (required)")
	reasonFlag(cmd, &reason)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if lasts == "" {
			return usageError{fmt.Errorf("say for how long, by --for 15m")}
		}
		body := map[string]any{"for": lasts, "reason": reason}
		put(body, "tenant", tenant)
		put(body, "route", route)
		if all {
			body["all"] = true
		}
		return a.send(cmd, http.MethodPost, "/api/v1/bypasses", body)
	}
	return cmd
}

func printBypasses(w io.Writer, list []admin.Bypass) {
	fmt.Fprintln(w, "BYPASS\tTENANT\tROUTE\tUNTIL\tBY\tREASON")
	for _, b := range list {
		tenant, route := b.Tenant, b.Route
		if tenant == "" {
			tenant = "all"
		}
		if route == "" {
			route = "all"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.ID, tenant, route, when(b.Until), b.By, b.Reason)
	}
}

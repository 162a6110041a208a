package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"sluice/admin"
	"sluice/store"
)

func newTenant() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tenant",
		Short: "Show and set tenants' tiers and limits; suspend them",
		Long: `What is set here holds on every node within a second, and goes before what a tenant's
credential and the configuration say. Counts stay: a tenant that gets another limit
has used what it has used.`,
		Example: `  sluice tenant list
  sluice tenant set acme --tier premium
  sluice tenant set acme --requests 20000 --per 1h
  sluice tenant raise acme --requests 100000 --for 2h --reason "launch day"
  sluice tenant suspend acme --reason "invoice 4711 unpaid"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[store.Tenant]{target, out, printTenants}
	cmd.AddCommand(tenantList(a), tenantSet(a), tenantSuspend(a), tenantRaise(a), tenantUsage(target, out),
		&cobra.Command{Use: "get TENANT", Short: "What is set of a tenant", Args: one("TENANT"), RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, http.MethodGet, resource("tenants", args[0]), nil)
		}},
		&cobra.Command{Use: "resume TENANT", Short: "End a suspension", Args: one("TENANT"), RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, http.MethodPost, resource("tenants", args[0], "/resume"), nil)
		}},
		&cobra.Command{Use: "delete TENANT", Short: "Take back all that is set of a tenant", Args: one("TENANT"), RunE: func(cmd *cobra.Command, args []string) error {
			return drop(cmd, target, resource("tenants", args[0]), args[0]+" is as its credential and the configuration say")
		}})
	return cmd
}

func tenantList(a asked[store.Tenant]) *cobra.Command {
	var q, tier string
	var suspended bool
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "The tenants of whom something is set", Args: noArgs}
	cmd.Flags().StringVarP(&q, "query", "q", "", "a part of the id or of the name")
	cmd.Flags().StringVar(&tier, "tier", "", "those with this tier alone")
	cmd.Flags().BoolVar(&suspended, "suspended", false, "those that are suspended alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := filters("q", q, "tier", tier)
		if cmd.Flags().Changed("suspended") {
			query.Set("suspended", fmt.Sprint(suspended))
		}
		return a.list(cmd, "/api/v1/tenants", query)
	}
	return cmd
}

func tenantSet(a asked[store.Tenant]) *cobra.Command {
	var l limitFlags
	var name, tier, notes, route string
	var noLimit, noRaise, dry bool
	cmd := &cobra.Command{
		Use: "set TENANT", Short: "Set a tenant's tier, limit, name or notes; the rest stays", Args: one("TENANT"),
		Example: "  sluice tenant set acme --tier premium\n  sluice tenant set acme --requests 50 --route export\n  sluice tenant set acme --no-limit --tier ''",
	}
	f := cmd.Flags()
	l.add(cmd)
	f.StringVar(&name, "name", "", "what people call the tenant")
	f.StringVar(&tier, "tier", "", "tier; '' leaves it to the credential")
	f.StringVar(&notes, "notes", "", "notes")
	f.StringVar(&route, "route", "", "set the limit of this route alone, by its name")
	f.BoolVar(&noLimit, "no-limit", false, "take the own limit away (with --route, that of the route)")
	f.BoolVar(&noRaise, "no-raise", false, "end a raise")
	f.BoolVar(&dry, "dry-run", false, "say what would be written, and write nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		limit, err := l.body()
		if err != nil {
			return err
		}
		body := map[string]any{}
		for flag, value := range map[string]string{"name": name, "tier": tier, "notes": notes} {
			if f.Changed(flag) {
				body[flag] = value
				if value == "" {
					body[flag] = nil
				}
			}
		}
		var set any = limit
		if limit == nil {
			set = nil
		}
		switch {
		case noLimit && limit != nil:
			return usageError{fmt.Errorf("either --no-limit or --requests")}
		case (limit != nil || noLimit) && route != "":
			body["routes"] = map[string]any{route: set}
		case limit != nil || noLimit:
			body["limit"] = set
		}
		if noRaise {
			body["raise"] = nil
		}
		if len(body) == 0 {
			return usageError{fmt.Errorf("say what to set: --tier, --requests, --name, --notes …")}
		}
		path := resource("tenants", args[0])
		if dry {
			path += "?dry_run=true"
		}
		return a.send(cmd, http.MethodPatch, path, body)
	}
	return cmd
}

// reasonFlag adds --reason, which is needed.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, for whoever meets it at night (required)")
	if err := cmd.MarkFlagRequired("reason"); err != nil {
		panic("BUG: " + err.Error())
	}
}

func tenantSuspend(a asked[store.Tenant]) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "suspend TENANT", Short: "Refuse all requests of a tenant, with 403 and the reason", Args: one("TENANT")}
	reasonFlag(cmd, &reason)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.send(cmd, http.MethodPost, resource("tenants", args[0], "/suspend"), map[string]string{"reason": reason})
	}
	return cmd
}

func tenantRaise(a asked[store.Tenant]) *cobra.Command {
	var l limitFlags
	var lasts, until, reason string
	cmd := &cobra.Command{Use: "raise TENANT", Short: "Give a tenant another limit for a while", Args: one("TENANT")}
	l.add(cmd)
	cmd.Flags().StringVar(&lasts, "for", "", "how long: 30m, 12h, 7d")
	cmd.Flags().StringVar(&until, "until", "", "until when, instead: 2026-12-31T18:00:00Z")
	reasonFlag(cmd, &reason)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		limit, err := l.body()
		if err != nil {
			return err
		}
		if limit == nil {
			return usageError{fmt.Errorf("say to what, by --requests")}
		}
		body := map[string]any{"limit": limit, "reason": reason}
		put(body, "for", lasts)
		put(body, "until", until)
		return a.send(cmd, http.MethodPost, resource("tenants", args[0], "/raise"), body)
	}
	return cmd
}

// usage is the answer of the API.
type usage struct {
	Tenant string        `json:"tenant"`
	Items  []admin.Usage `json:"items"`
}

func tenantUsage(target *adminFlags, out *outputFlag) *cobra.Command {
	var tier string
	a := asked[usage]{target, out, func(w io.Writer, list []usage) {
		fmt.Fprintln(w, "POLICY\tTIER\tLIMIT\tUSED\tREMAINING\tRESET")
		for _, u := range list[0].Items {
			fmt.Fprintf(w, "%s\t%s\t%d/%s\t%d\t%d\t%s\n", u.Policy, dash(u.Tier), u.Limit, u.Window, u.Used, u.Remaining, when(u.Reset))
		}
	}}
	cmd := &cobra.Command{Use: "usage TENANT", Short: "What a tenant has used, as the node sees it that is asked", Args: one("TENANT")}
	cmd.Flags().StringVar(&tier, "tier", "", "the tier of its credentials, when none is set")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := resource("tenants", args[0], "/usage")
		if q := filters("tier", tier); len(q) > 0 {
			path += "?" + q.Encode()
		}
		return a.send(cmd, http.MethodGet, path, nil)
	}
	return cmd
}

func printTenants(w io.Writer, list []store.Tenant) {
	fmt.Fprintln(w, "TENANT\tNAME\tTIER\tLIMIT\tROUTES\tRAISE\tSUSPENDED\tCHANGED\tBY")
	for _, t := range list {
		raise, routes := "-", "-"
		if t.Raise != nil {
			raise = words(&t.Raise.Limit) + " until " + when(t.Raise.Until)
		}
		var own []string
		for name, l := range t.Routes {
			own = append(own, name+": "+words(&l))
		}
		if len(own) > 0 {
			routes = strings.Join(own, "; ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, dash(t.Name), dash(t.Tier), words(t.Limit), routes, raise, dash(t.Suspended), when(t.UpdatedAt), dash(t.UpdatedBy))
	}
}

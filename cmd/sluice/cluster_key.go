package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// newQuota is sluice cluster key.
func newQuota(target *adminFlags, out *outputFlag) *cobra.Command {
	var route string
	cmd := &cobra.Command{
		Use:   "key TENANT",
		Short: "Who holds what of a tenant's quota",
		Long: `key shows the books of a tenant's quota: how much is used in the window, what each
node holds, and what is free. They are read where they are kept: in Redis, or at
the quota's home node.

With --route it shows the limit of that route instead.`,
		Example: "  sluice cluster key acme\n  sluice cluster key acme --route /api/items/export",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usageError{errors.New("cluster key takes one tenant")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := target.client()
			if err != nil {
				return err
			}
			resource := "/api/v1/cluster/quotas/" + url.PathEscape(args[0])
			if route != "" {
				resource += "?" + url.Values{"route": {route}}.Encode()
			}
			var q quotaStatus
			if _, err := client.call(cmd.Context(), http.MethodGet, resource, nil, &q); err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), q, func(w io.Writer) { printQuota(w, &q) })
		},
	}
	cmd.Flags().StringVar(&route, "route", "", "name of a route that has a limit of its own")
	return cmd
}

func printQuota(w io.Writer, q *quotaStatus) {
	kept := map[string]string{
		"local": "this node", "redis": "Redis", "home": q.Home + ", copy at " + q.Standby, "none": "nobody at the moment",
	}[q.Authority]
	if q.Authority == "home" && q.Standby == "" {
		kept = q.Home
	}
	fmt.Fprintf(w, "tenant\t%s\nlimit\t%s\nbooks kept by\t%s\n", q.Tenant, q.Policy, kept)
	if !q.Known {
		fmt.Fprintln(w, "nothing is known of it: no request has come")
		return
	}
	fmt.Fprintf(w, "rights\t%d = %d used + %d held + %d free\n", q.Limit, q.Used, q.Held, q.Free)
	if len(q.Nodes) > 0 {
		fmt.Fprintln(w, "\nNODE\tLIFE\tHOLDS\tREPORTED AS USED\t")
	}
	for _, n := range q.Nodes {
		note := ""
		if n.Reclaimed {
			note = "gone: what it held was taken back"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", n.Node, n.Life, n.Held, n.Used, note)
	}
}

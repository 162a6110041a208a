package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"sluice/store"
)

func newAudit() *cobra.Command {
	var kind, id, operator string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who changed what, the newest first", Args: noArgs,
		Example: "  sluice audit --kind tenant --id acme -o yaml",
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "of this kind of thing alone: tenant, tier, key, ban, bypass")
	f.StringVar(&id, "id", "", "of this thing alone")
	f.StringVar(&operator, "operator", "", "by this operator alone")
	f.IntVar(&limit, "limit", 50, "how many, 1000 at most")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := target.client()
		if err != nil {
			return err
		}
		var page struct {
			Items []store.Entry `json:"items"`
		}
		query := filters("kind", kind, "id", id, "operator", operator, "limit", fmt.Sprint(limit))
		if _, err := client.call(cmd.Context(), http.MethodGet, "/api/v1/audit?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), page.Items, func(w io.Writer) {
			fmt.Fprintln(w, "TIME\tOPERATOR\tFROM\tACTION\tWHAT\tSTATUS\tREASON")
			for _, e := range page.Items {
				what := "-"
				if e.Kind != "" {
					what = e.Kind + " " + e.ID
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", when(e.Time), e.Operator, e.Address, e.Action, what, e.Status, dash(e.Reason))
			}
		})
	}
	return cmd
}

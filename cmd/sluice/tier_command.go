package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"sluice/admin"
)

func newTier() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tier", Short: "Show and set tiers",
		Long: `The configuration's tiers are the seed. A tier that is set here goes before the
configuration's of that name, on every node within a second, until it is deleted here.`,
		Example: "  sluice tier list\n  sluice tier set premium --requests 8000 --per 1h",
		Args:    noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[admin.Tier]{target, out, printTiers}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "The tiers in force", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, "/api/v1/tiers", nil)
		}},
		&cobra.Command{Use: "get TIER", Short: "One tier", Args: one("TIER"), RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, http.MethodGet, resource("tiers", args[0]), nil)
		}},
		&cobra.Command{Use: "delete TIER", Short: "Give a tier back to the configuration, or take it away", Args: one("TIER"), RunE: func(cmd *cobra.Command, args []string) error {
			return drop(cmd, target, resource("tiers", args[0]), args[0]+" is as the configuration says")
		}},
		tierSet(a))
	return cmd
}

func tierSet(a asked[admin.Tier]) *cobra.Command {
	var l limitFlags
	var notes string
	var dry bool
	cmd := &cobra.Command{Use: "set TIER", Short: "Set a tier's quota", Args: one("TIER")}
	l.add(cmd)
	cmd.Flags().StringVar(&notes, "notes", "", "notes")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be written, and write nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := l.body()
		if err != nil {
			return err
		}
		if body == nil {
			return usageError{fmt.Errorf("say to what, by --requests")}
		}
		put(body, "notes", notes)
		return a.set(cmd, resource("tiers", args[0]), dry, body)
	}
	return cmd
}

func printTiers(w io.Writer, list []admin.Tier) {
	fmt.Fprintln(w, "TIER\tLIMIT\tSOURCE\tCHANGED\tBY")
	for _, t := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.Name, words(&t.Limit), t.Source, when(t.UpdatedAt), dash(t.UpdatedBy))
	}
}

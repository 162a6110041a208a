package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/admin"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Make, list, rotate and revoke API keys",
		Long: `An API key is for an integration that cannot log in. It belongs to a tenant, and its
text is printed once: only a hash is kept.`,
		Example: `  sluice key create --tenant acme --name "nightly export" --route export --for 90d
  sluice key rotate 7Hk2mPq9XbLs --overlap 24h
  sluice key revoke 7Hk2mPq9XbLs --reason "found in a repository"`,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[admin.Key]{target, out, printKeys}
	cmd.AddCommand(keyCreate(a), keyList(a), keyRotate(a), keyRevoke(target),
		&cobra.Command{Use: "get KEY", Short: "One key, and when it was used last", Args: one("KEY"), RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, http.MethodGet, resource("keys", keyID(args[0])), nil)
		}})
	return cmd
}

// keyID is the id within a text that may be a whole key.
func keyID(text string) string {
	if _, rest, ok := strings.Cut(text, "_live_"); ok && len(rest) >= 12 {
		return rest[:12]
	}
	return text
}

func keyCreate(a asked[admin.Key]) *cobra.Command {
	var l limitFlags
	var tenant, name, lasts, expires, notes, once string
	var permissions, routes, addresses []string
	cmd := &cobra.Command{Use: "create", Aliases: []string{"add"}, Short: "Make a key, and print its text once", Args: noArgs}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "whose key it is (required)")
	f.StringVar(&name, "name", "", "what it is for (required)")
	f.StringSliceVar(&permissions, "permission", nil, "what it may do, as a token's permissions")
	f.StringSliceVar(&routes, "route", nil, "routes that it is for, by name or path; default: all")
	f.StringSliceVar(&addresses, "address", nil, "networks that it may be used from, such as 192.0.2.0/24; default: all")
	f.StringVar(&lasts, "for", "", "how long it is valid: 90d; default: for good")
	f.StringVar(&expires, "expires", "", "until when, instead: 2027-01-01T00:00:00Z")
	f.StringVar(&notes, "notes", "", "notes")
	f.StringVar(&once, "idempotency-key", "", "a text of yours: the same command again makes no second key")
	l.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if tenant == "" || name == "" {
			return usageError{fmt.Errorf("--tenant and --name are needed")}
		}
		limit, err := l.body()
		if err != nil {
			return err
		}
		body := map[string]any{"tenant": tenant, "name": name}
		put(body, "for", lasts)
		put(body, "expires", expires)
		put(body, "notes", notes)
		for field, list := range map[string][]string{"permissions": permissions, "routes": routes, "addresses": addresses} {
			if len(list) > 0 {
				body[field] = list
			}
		}
		if limit != nil {
			body["limit"] = limit
		}
		return a.send(cmd, http.MethodPost, "/api/v1/keys", body, func(r *http.Request) {
			if once != "" {
				r.Header.Set("Idempotency-Key", once)
			}
		})
	}
	return cmd
}

func keyList(a asked[admin.Key]) *cobra.Command {
	var tenant, q string
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "The keys", Args: noArgs}
	cmd.Flags().StringVar(&tenant, "tenant", "", "those of this tenant alone")
	cmd.Flags().StringVarP(&q, "query", "q", "", "a part of the id or of the name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.list(cmd, "/api/v1/keys", filters("tenant", tenant, "q", q))
	}
	return cmd
}

func keyRotate(a asked[admin.Key]) *cobra.Command {
	var overlap, reason string
	cmd := &cobra.Command{Use: "rotate KEY", Short: "Give a key another text, and print that once", Args: one("KEY")}
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the text before is accepted too; 0s: not at all")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"overlap": overlap}
		put(body, "reason", reason)
		return a.send(cmd, http.MethodPost, resource("keys", keyID(args[0]), "/rotate"), body)
	}
	return cmd
}

func keyRevoke(target *adminFlags) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "revoke KEY", Aliases: []string{"delete"}, Short: "Refuse a key from now on, on every node", Args: one("KEY")}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := keyID(args[0])
		path := resource("keys", id)
		if reason != "" {
			path += "?" + filters("reason", reason).Encode()
		}
		return drop(cmd, target, path, "revoked "+id)
	}
	return cmd
}

func printKeys(w io.Writer, list []admin.Key) {
	fmt.Fprintln(w, "KEY\tTENANT\tNAME\tROUTES\tLIMIT\tEXPIRES\tLAST USED")
	for _, k := range list {
		routes := "all"
		if len(k.Routes) > 0 {
			routes = strings.Join(k.Routes, " ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Tenant, k.Name, routes, words(k.Limit), when(k.Expires), when(k.LastUsed))
	}
	if len(list) == 1 && list[0].Text != "" {
		fmt.Fprintf(w, "\n%s\n\nKeep it now: it is not shown again.\n", list[0].Text)
		if r := list[0].Rotated; r != nil {
			fmt.Fprintf(w, "The text before is accepted until %s.\n", r.Until.Format(time.RFC3339))
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/store"
)

// seen makes a change one of what is there now, or of nothing when there is nothing;
// into, unless nil, gets what is there.
func seen(cmd *cobra.Command, client *adminClient, path string, into any) (callOption, error) {
	header, err := client.call(cmd.Context(), http.MethodGet, path, nil, into)
	if e, ok := errors.AsType[*apiError](err); ok && e.Status == http.StatusNotFound || err == nil && header.Get("ETag") == "" {
		return func(r *http.Request) { r.Header.Set("If-None-Match", "*") }, nil
	}
	if err != nil {
		return nil, err
	}
	return ifMatch(header.Get("ETag")), nil
}

// set writes the whole of an object, in the revision that is there now.
func (a asked[T]) set(cmd *cobra.Command, path string, dry bool, body any) error {
	client, err := a.target.client()
	if err != nil {
		return err
	}
	precondition, err := seen(cmd, client, path, nil)
	if err != nil {
		return err
	}
	if dry {
		path += "?dry_run=true"
	}
	return a.send(cmd, http.MethodPut, path, body, precondition)
}

// whole adds list, get and delete of objects that are written whole.
func (a asked[T]) whole(cmd *cobra.Command, collection, thing string) {
	var q, reason string
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "What is decided", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.list(cmd, "/api/v1/"+collection, filters("q", q))
	}}
	list.Flags().StringVarP(&q, "query", "q", "", "a part of the name or of what it says")
	get := &cobra.Command{Use: "get NAME", Short: "One " + thing, Args: one("NAME"), RunE: func(cmd *cobra.Command, args []string) error {
		return a.send(cmd, http.MethodGet, resource(collection, args[0]), nil)
	}}
	drops := &cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete it on every node", Args: one("NAME"), RunE: func(cmd *cobra.Command, args []string) error {
		path := resource(collection, args[0])
		if why := filters("reason", reason); len(why) > 0 {
			path += "?" + why.Encode()
		}
		return drop(cmd, a.target, path, args[0]+" is deleted")
	}}
	drops.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.AddCommand(list, get, drops)
}

func newAddressList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "address-list", Short: "Networks that are refused, or never refused, on every node",
		Long: `An address list stays until it is deleted, beside waf.ip of the configuration. For
something that ends by itself, see sluice ban and sluice allow.`,
		Example: `  sluice address-list set scanners --deny 203.0.113.0/24,2001:db8::/32 --reason "ticket 7"
  sluice address-list set partners --route export --allow 198.51.100.0/28 --reason "contract"
  sluice address-list set blocklist --deny @networks.txt --reason "daily feed"
  sluice address-list add scanners 192.0.2.7`,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[store.AddressList]{target, out, printAddressLists}
	a.whole(cmd, "address-lists", "address list")
	cmd.AddCommand(addressListSet(a),
		addressListChange(a, "add", "Put networks on a list", func(l *store.AddressList, p netip.Prefix) {
			if !slices.Contains(l.Networks, p) {
				l.Networks = append(l.Networks, p)
			}
		}),
		addressListChange(a, "remove", "Take networks off a list", func(l *store.AddressList, p netip.Prefix) {
			l.Networks = slices.DeleteFunc(l.Networks, func(q netip.Prefix) bool { return q == p })
		}))
	return cmd
}

func addressListSet(a asked[store.AddressList]) *cobra.Command {
	var deny, allow []string
	var route, reason string
	var dry bool
	cmd := &cobra.Command{Use: "set NAME", Short: "Set the whole of a list", Args: one("NAME")}
	f := cmd.Flags()
	f.StringSliceVar(&deny, "deny", nil, "networks to refuse, or @FILE with one a line")
	f.StringSliceVar(&allow, "allow", nil, "networks that are never refused, or @FILE")
	f.StringVar(&route, "route", "", "for this route alone, by its name")
	f.BoolVar(&dry, "dry-run", false, "say what would be written, and write nothing")
	reasonFlag(cmd, &reason)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(deny) == 0) == (len(allow) == 0) {
			return usageError{fmt.Errorf("say which networks, by either --deny or --allow")}
		}
		list := store.AddressList{Action: "deny", Route: route, Reason: reason}
		if len(allow) > 0 {
			list.Action = "allow"
		}
		var err error
		if list.Networks, err = parseNetworks(append(deny, allow...)); err != nil {
			return err
		}
		return a.set(cmd, resource("address-lists", args[0]), dry, listBody(list))
	}
	return cmd
}

// listBody is a list as it is sent: its name stands in the path.
func listBody(l store.AddressList) map[string]any {
	body := map[string]any{"action": l.Action, "networks": l.Networks, "reason": l.Reason}
	put(body, "route", l.Route)
	return body
}

func addressListChange(a asked[store.AddressList], verb, short string, change func(*store.AddressList, netip.Prefix)) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " NAME NETWORK…", Short: short, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usageError{fmt.Errorf("%s takes a NAME and at least one NETWORK", cmd.CommandPath())}
		}
		return nil
	}}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		nets, err := parseNetworks(args[1:])
		if err != nil {
			return err
		}
		client, err := a.target.client()
		if err != nil {
			return err
		}
		var list store.AddressList
		path := resource("address-lists", args[0])
		header, err := client.call(cmd.Context(), http.MethodGet, path, nil, &list)
		if err != nil {
			return err
		}
		for _, p := range nets {
			change(&list, p)
		}
		return a.send(cmd, http.MethodPut, path, listBody(list), ifMatch(header.Get("ETag")))
	}
	return cmd
}

// parseNetworks reads networks, single addresses, and @FILE with one a line, in which
// # begins a comment.
func parseNetworks(words []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, word := range words {
		lines, where := []string{word}, ""
		if path, ok := strings.CutPrefix(word, "@"); ok {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			lines, where = strings.Split(string(text), "\n"), path
		}
		for i, line := range lines {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line == "" && where != "" {
				continue
			}
			p, err := parseNetwork(line)
			if err != nil && where != "" {
				return nil, fmt.Errorf("%s:%d: %w", where, i+1, err)
			}
			if err != nil {
				return nil, usageError{err}
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no address and no network, such as 203.0.113.0/24", s)
	}
	return p.Masked(), nil
}

func printAddressLists(w io.Writer, lists []store.AddressList) {
	fmt.Fprintln(w, "NAME\tACTION\tROUTE\tNETWORKS\tREASON\tCHANGED\tBY")
	for _, l := range lists {
		var nets []string
		for _, p := range l.Networks[:min(3, len(l.Networks))] {
			nets = append(nets, p.String())
		}
		if n := len(l.Networks) - len(nets); n > 0 {
			nets = append(nets, fmt.Sprintf("and %d more", n))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Action, dash(l.Route), strings.Join(nets, " "), l.Reason, when(l.UpdatedAt), dash(l.UpdatedBy))
	}
}

func newRule() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rule", Short: "What the firewall looks at: exclusions and modes, on every node",
		Long: `A security rule takes rules of the firewall away (--rule or --tag, for one --argument
or for all), or sets how the firewall works (--mode, --threshold): on a route or on
all, for a tenant or for all. It stays until it is deleted, beside waf of the
configuration.`,
		Example: `  sluice rule set notes --route /notes/* --rule 942100 --argument json.note --reason "a forum about SQL"
  sluice rule set lab --tenant lab --mode detect --reason "they test their attacks here"`,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	a := asked[store.SecurityRule]{target, out, printSecurityRules}
	a.whole(cmd, "security-rules", "security rule")
	cmd.AddCommand(ruleSet(a))
	return cmd
}

func ruleSet(a asked[store.SecurityRule]) *cobra.Command {
	var r store.SecurityRule
	var dry bool
	cmd := &cobra.Command{Use: "set NAME", Short: "Set the whole of a rule", Args: one("NAME")}
	f := cmd.Flags()
	f.StringVar(&r.Route, "route", "", "on this route alone, by its name")
	f.StringVar(&r.Tenant, "tenant", "", "for this tenant alone")
	f.IntVar(&r.Rule, "rule", 0, "take the rule with this id away")
	f.StringVar(&r.Tag, "tag", "", "take all rules with this tag away, such as attack-sqli")
	f.StringVar(&r.Argument, "argument", "", "for this argument alone, such as json.note")
	f.StringVar(&r.Mode, "mode", "", "off, detect or block")
	f.IntVar(&r.Threshold, "threshold", 0, "score from which a request is refused")
	f.BoolVar(&dry, "dry-run", false, "say what would be written, and write nothing")
	reasonFlag(cmd, &r.Reason)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"reason": r.Reason}
		for name, value := range map[string]string{"route": r.Route, "tenant": r.Tenant, "tag": r.Tag, "argument": r.Argument, "mode": r.Mode} {
			put(body, name, value)
		}
		for name, value := range map[string]int{"rule": r.Rule, "threshold": r.Threshold} {
			if f.Changed(name) {
				body[name] = value
			}
		}
		return a.set(cmd, resource("security-rules", args[0]), dry, body)
	}
	return cmd
}

func printSecurityRules(w io.Writer, rules []store.SecurityRule) {
	fmt.Fprintln(w, "NAME\tROUTE\tTENANT\tSAYS\tREASON\tCHANGED\tBY")
	for _, r := range rules {
		var says []string
		switch {
		case r.Rule != 0:
			says = append(says, fmt.Sprintf("exclude rule %d", r.Rule))
		case r.Tag != "":
			says = append(says, "exclude tag "+r.Tag)
		}
		if r.Argument != "" {
			says = append(says, "of "+r.Argument)
		}
		if r.Mode != "" {
			says = append(says, "mode "+r.Mode)
		}
		if r.Threshold != 0 {
			says = append(says, fmt.Sprintf("threshold %d", r.Threshold))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, dash(r.Route), dash(r.Tenant), strings.Join(says, " "), r.Reason, when(r.UpdatedAt), dash(r.UpdatedBy))
	}
}

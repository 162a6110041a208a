package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// policyFile is what export writes and apply reads: what operators decided, by
// name, as the API takes it. Keys are not in it: their texts are secrets.
type policyFile struct {
	Tiers         bodies `json:"tiers,omitempty" yaml:"tiers"`
	Tenants       bodies `json:"tenants,omitempty" yaml:"tenants"`
	AddressLists  bodies `json:"address_lists,omitempty" yaml:"address_lists"`
	SecurityRules bodies `json:"security_rules,omitempty" yaml:"security_rules"`
}

// bodies are objects of one kind, by name.
type bodies = map[string]map[string]any

// group is what a policyFile has of one kind.
type group struct {
	collection, id string // of the API, and its member that is the name
	bodies         bodies
}

// groups are the kinds, in the order in which they are made: tenants after their
// tiers.
func (f *policyFile) groups() []group {
	for _, b := range []*bodies{&f.Tiers, &f.Tenants, &f.AddressLists, &f.SecurityRules} {
		if *b == nil {
			*b = bodies{}
		}
	}
	return []group{{"tiers", "name", f.Tiers}, {"tenants", "id", f.Tenants}, {"address-lists", "name", f.AddressLists}, {"security-rules", "name", f.SecurityRules}}
}

// called is an object's name in what is told of it.
func (g group) called(id string) string { return strings.ReplaceAll(g.collection, "-", "_") + "." + id }

// told are the members that the API tells of itself, beside the name.
var told = []string{"revision", "source", "updated_at", "updated_by"}

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print what is decided of tiers, tenants, address lists and security rules, for version control",
		Example: "  sluice export > policies.yaml", Args: noArgs,
	}
	target := addAdminFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := target.client()
		if err != nil {
			return err
		}
		now, err := decided(cmd.Context(), client)
		if err != nil {
			return err
		}
		return printYAML(cmd.OutOrStdout(), now.file)
	}
	return cmd
}

// decisions are what is decided now, with the revisions.
type decisions struct {
	file  policyFile
	etags map[string]string // by resource
}

func decided(ctx context.Context, c *adminClient) (*decisions, error) {
	d := &decisions{etags: map[string]string{}}
	for _, g := range d.file.groups() {
		items, err := listAll[map[string]any](ctx, c, "/api/v1/"+g.collection, nil)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if it["source"] == "file" {
				continue
			}
			id, _ := it[g.id].(string)
			if n, ok := it["revision"].(float64); ok {
				d.etags[resource(g.collection, id)] = fmt.Sprintf("%q", fmt.Sprintf("%.0f", n))
			}
			for _, name := range append(slices.Clone(told), g.id) {
				delete(it, name)
			}
			g.bodies[id] = it
		}
	}
	return d, nil
}

func newApply() *cobra.Command {
	var dry, prune bool
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Make what is decided of tiers, tenants, address lists and security rules as a file says",
		Long: `apply shows how FILE (- for standard input) differs from what is decided, and writes
the difference: tiers first. What the file does not name stays, unless --prune deletes
it. What somebody changes meanwhile is left alone, and the command fails.

With --dry-run it exits with 1 when there is a difference.`,
		Example: "  sluice apply --dry-run policies.yaml\n  sluice apply policies.yaml", Args: one("FILE"),
	}
	target := addAdminFlags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show the difference, check it, and write nothing")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what the file does not name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		want, err := readPolicies(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		client, err := target.client()
		if err != nil {
			return err
		}
		now, err := decided(cmd.Context(), client)
		if err != nil {
			return err
		}
		changes := difference(now, want, prune)
		for _, c := range changes {
			fmt.Fprint(cmd.OutOrStdout(), c.diff())
		}
		failed := 0
		for _, c := range changes {
			if err := c.write(cmd.Context(), client, dry, want); err != nil {
				failed++
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", c.name, err)
			}
		}
		switch {
		case len(changes) == 0:
			fmt.Fprintln(cmd.OutOrStdout(), "no difference")
		case failed > 0:
			return fmt.Errorf("%d of %d changes failed", failed, len(changes))
		case dry:
			return errReported
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%d changed\n", len(changes))
		}
		return nil
	}
	return cmd
}

func readPolicies(stdin io.Reader, path string) (*policyFile, error) {
	text, err := []byte(nil), error(nil)
	if path == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	return parsePolicies(path, text)
}

func parsePolicies(path string, text []byte) (*policyFile, error) {
	f := new(policyFile)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(f); err != nil && err != io.EOF { //nolint:errorlint // the decoder returns it bare
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// As JSON has it, so that it compares with what the API answers.
	for _, g := range f.groups() {
		for name, body := range g.bodies {
			text, err := json.Marshal(body)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, name, err)
			}
			var plain map[string]any
			if err := json.Unmarshal(text, &plain); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, name, err)
			}
			if plain == nil {
				plain = map[string]any{}
			}
			g.bodies[name] = plain
		}
	}
	return f, nil
}

// change is one object that differs; nil is one that is not there.
type change struct {
	name, path, etag string
	was, is          map[string]any
}

// difference is what has to change, in the order in which it is made, and then what
// goes, in the opposite one, so that every tenant has its tier at any time.
func difference(now *decisions, want *policyFile, prune bool) []change {
	var made, gone []change
	there := now.file.groups()
	for i, g := range want.groups() {
		was := there[i].bodies
		for _, id := range slices.Sorted(maps.Keys(g.bodies)) {
			c := change{g.called(id), resource(g.collection, id), now.etags[resource(g.collection, id)], was[id], g.bodies[id]}
			if per, ok := c.is["per"]; g.collection == "tiers" && (!ok || per == "") {
				c.is["per"] = "1h"
			}
			if !reflect.DeepEqual(c.was, c.is) {
				made = append(made, c)
			}
		}
		if !prune {
			continue
		}
		var pruned []change
		for _, id := range slices.Sorted(maps.Keys(was)) {
			if _, stays := g.bodies[id]; !stays {
				pruned = append(pruned, change{g.called(id), resource(g.collection, id), now.etags[resource(g.collection, id)], was[id], nil})
			}
		}
		gone = append(pruned, gone...)
	}
	return append(made, gone...)
}

// diff is the change as lines with - and +.
func (c change) diff() string {
	lines := func(body map[string]any) []string {
		var text strings.Builder
		if body == nil || printYAML(&text, body) != nil {
			return nil
		}
		return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	}
	was, is := lines(c.was), lines(c.is)
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", c.name)
	for _, l := range was {
		if !slices.Contains(is, l) {
			fmt.Fprintf(&b, "-   %s\n", l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			fmt.Fprintf(&b, "+   %s\n", l)
		}
	}
	return b.String()
}

// write makes the change; a dry one has it checked only.
func (c change) write(ctx context.Context, client *adminClient, dry bool, want *policyFile) error {
	if c.is == nil {
		if dry {
			return nil
		}
		_, err := client.call(ctx, http.MethodDelete, c.path, nil, nil, ifMatch(c.etag))
		return err
	}
	path, body := c.path, c.is
	if dry {
		path += "?dry_run=true"
		if tier, _ := body["tier"].(string); want.Tiers[tier] != nil { // it may be there only after the change before
			body = maps.Clone(body)
			delete(body, "tier")
		}
	}
	_, err := client.call(ctx, http.MethodPut, path, body, nil, ifMatch(c.etag), func(r *http.Request) {
		if c.was == nil {
			r.Header.Set("If-None-Match", "*")
		}
	})
	return err
}

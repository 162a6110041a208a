package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// outputFlag is how a command prints what it has found: -o table, json or yaml.
type outputFlag struct{ format string }

// addOutputFlag adds -o to cmd and its subcommands.
func addOutputFlag(cmd *cobra.Command) *outputFlag {
	o := &outputFlag{format: "table"}
	cmd.PersistentFlags().VarP(o, "output", "o", "how to print: table, json or yaml")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("BUG: " + err.Error())
	}
	return o
}

var outputFormats = []string{"table", "json", "yaml"}

// String is the format; it makes an outputFlag a flag's value.
func (o *outputFlag) String() string { return o.format }

// Type is the word for the value in --help.
func (o *outputFlag) Type() string { return "format" }

// Set takes one of the formats.
func (o *outputFlag) Set(word string) error {
	for _, f := range outputFormats {
		if f == word {
			o.format = word
			return nil
		}
	}
	return fmt.Errorf("it is %s", strings.Join(outputFormats, ", "))
}

// print prints v in the format asked for. table writes rows with tabs between
// the columns.
func (o *outputFlag) print(w io.Writer, v any, table func(io.Writer)) error {
	switch o.format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		return printYAML(w, v)
	}
	t := tabwriter.NewWriter(printable{w}, 0, 4, 2, ' ', 0)
	table(t)
	return t.Flush()
}

// printable writes text of others to a terminal: what could move its cursor or
// colour its lines comes as U+FFFD.
type printable struct{ w io.Writer }

func (p printable) Write(b []byte) (int, error) {
	text := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, string(b))
	if _, err := io.WriteString(p.w, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// printYAML prints v with the names and in the order of its JSON.
func printYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil { // JSON is YAML
		return err
	}
	plainStyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return err
	}
	return enc.Close()
}

// plainStyle takes JSON's braces and quotes away where YAML needs none.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plainStyle(child)
	}
}

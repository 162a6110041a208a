package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"sluice/auth"
	"sluice/conf"
	"sluice/limiter"
	"sluice/proxy"
	"sluice/proxy/upstream"
	"sluice/telemetry"
)

func newCheck() *cobra.Command {
	var asJSON, schema bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say all that is wrong with a configuration",
		Long: `check loads FILE (default sluice.yaml) as serve would, certificates included, and
prints every problem with its line and column and what would be right. It exits
with 0 when the file would be applied, warnings or not, and with 1 when not.`,
		Example: "  sluice check /etc/sluice/sluice.yaml\n  sluice check --json sluice.yaml\n  sluice check --schema > sluice.schema.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("check takes one file, not %d", len(args))}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if schema {
				_, err := cmd.OutOrStdout().Write(conf.Schema())
				return err
			}
			path := "sluice.yaml"
			if len(args) == 1 {
				path = args[0]
			}
			return check(cmd.OutOrStdout(), path, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the configuration, for editors")
	return cmd
}

// checked is the JSON form of a check's outcome.
type checked struct {
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Problems conf.Problems `json:"problems"`
}

func check(w io.Writer, path string, asJSON bool) error {
	doc, problems := conf.Load(path)
	if problems.Err() == nil {
		problems = append(problems, compileOnly(doc)...)
		problems.Sort()
	}
	failed := problems.Err() != nil
	switch {
	case asJSON:
		if problems == nil {
			problems = conf.Problems{}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(checked{path, !failed, problems}); err != nil {
			return err
		}
	case len(problems) > 0:
		source, err := os.ReadFile(path)
		if err != nil {
			source = nil // the problem says so
		}
		if err := problems.Render(w, source, w == io.Writer(os.Stdout) && isTerminal(os.Stdout)); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	if !asJSON {
		fmt.Fprintf(w, "%s: ok: %d listeners, %d services, %d routes\n", path, len(doc.Listeners), len(doc.Services), len(doc.Routes))
	}
	return nil
}

// compileOnly compiles doc as serve would, without starting anything: what
// passes here passes there.
func compileOnly(doc *conf.Document) conf.Problems {
	quiet := slog.New(slog.DiscardHandler)
	certs := newCertStore(quiet)
	g := proxy.New(proxy.Deps{
		Limiter: limiter.New(limiter.Options{}), Keys: auth.NewKeyStore(auth.KeyStoreOptions{}),
		Upstreams: upstream.NewRegistry(upstream.Options{TLS: upstreamTLS}),
		Metrics:   telemetry.NewMetrics(telemetry.MetricsOptions{}), Log: quiet,
	})
	_, problems := g.Compile(doc)
	for i, l := range doc.Listeners {
		if l.TLS == nil {
			continue
		}
		if _, err := certs.config(*l.TLS); err != nil {
			path := fmt.Sprintf("listeners[%d].tls", i)
			problems = append(problems, conf.Problem{Position: doc.Pos(path), Path: path, Message: err.Error()})
		}
	}
	return problems
}

package main

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"sluice/conf"
	"sluice/telemetry"
	"sluice/telemetry/ship"
)

// openOutputs opens what takes the lines of a stream beside its file.
func openOutputs(doc *conf.Document, stream string, log *slog.Logger) (sinks []telemetry.Sink, err error) {
	for _, name := range slices.Sorted(maps.Keys(doc.Logs.Outputs)) {
		o := doc.Logs.Outputs[name]
		if !slices.Contains(o.Streams, stream) {
			continue
		}
		protocol, err := newProtocol(&o, stream, doc.Node.Name)
		if err != nil {
			return nil, fmt.Errorf("log output %s: %w", name, err)
		}
		out, err := ship.Open(ship.Options{
			Name: name, Protocol: protocol, Timeout: o.Timeout.Std(), Buffer: int(o.Buffer),
			SpillDir: filepath.Join(doc.Node.DataDir, "spill", stream+"-"+name), Spill: int64(o.Spill), Logger: log,
		})
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, out)
	}
	return sinks, nil
}

func newProtocol(o *conf.LogOutput, stream, node string) (ship.Protocol, error) {
	push := ship.HTTPOptions{
		URL: o.URL, Headers: o.Headers, Username: o.Username, Password: o.Password.Reveal(), Token: o.Token.Reveal(),
		Stream: stream, Node: node, Labels: o.Labels, Index: o.Index,
	}
	switch o.Type {
	case "stdout":
		return ship.NewStdout()
	case "syslog":
		return ship.NewSyslog(ship.SyslogOptions{URL: o.URL, Stream: stream, Node: node})
	case "json":
		return ship.NewJSON(push), nil
	case "loki":
		return ship.NewLoki(push), nil
	case "elasticsearch":
		return ship.NewElasticsearch(push), nil
	case "otlp":
		return ship.NewOTLP(push), nil
	}
	panic("BUG: conf admits the output type " + o.Type)
}

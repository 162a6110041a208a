package ship

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// NewOTLP pushes log records to a collector by OTLP/HTTP in protobuf. The line is
// the record's body, its fields are attributes.
func NewOTLP(o HTTPOptions) Protocol {
	if !strings.HasSuffix(o.URL, "/v1/logs") {
		o.URL = strings.TrimSuffix(o.URL, "/") + "/v1/logs"
	}
	about := &resource.Resource{Attributes: []*common.KeyValue{
		text("service.name", "sluice"), text("service.instance.id", o.Node), text("log.stream", o.Stream),
	}}
	for _, name := range sorted(o.Labels) {
		about.Attributes = append(about.Attributes, text(name, o.Labels[name]))
	}
	return newHTTPPush(o, encoding{
		contentType: "application/x-protobuf",
		encode: func(dst, lines []byte) []byte {
			scope := &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "sluice"}}
			for _, line := range each(lines) {
				scope.LogRecords = append(scope.LogRecords, record(line))
			}
			// ExportLogsServiceRequest has the same single field as LogsData.
			all := &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{Resource: about, ScopeLogs: []*logs.ScopeLogs{scope}}}}
			dst, err := proto.MarshalOptions{}.MarshalAppend(dst, all)
			if err != nil {
				panic("BUG: log records do not marshal: " + err.Error())
			}
			return dst
		},
	})
}

func record(line []byte) *logs.LogRecord {
	r := &logs.LogRecord{
		TimeUnixNano:         uint64(lineTime(line).UnixNano()),
		ObservedTimeUnixNano: uint64(lineTime(line).UnixNano()),
		Body:                 &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(string(line), "\uFFFD")}},
	}
	switch severity(line) {
	case severityError:
		r.SeverityNumber, r.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "ERROR"
	case severityWarning:
		r.SeverityNumber, r.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	default:
		r.SeverityNumber, r.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_INFO, "INFO"
	}
	for name, v := range fields(line) {
		key := unquote(name)
		switch key {
		case "time":
			continue
		case "trace_id":
			r.TraceId, _ = hex.DecodeString(string(v.text))
		case "span_id":
			r.SpanId, _ = hex.DecodeString(string(v.text))
		}
		r.Attributes = append(r.Attributes, attribute(key, v))
	}
	return r
}

func attribute(key string, v value) *common.KeyValue {
	if !v.quoted {
		if n, err := strconv.ParseInt(string(v.text), 10, 64); err == nil {
			return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}}
		}
		if f, err := strconv.ParseFloat(string(v.text), 64); err == nil {
			return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: f}}}
		}
		return text(key, string(v.text))
	}
	return text(key, unquote(v.text))
}

func text(key, s string) *common.KeyValue {
	return &common.KeyValue{
		Key:   strings.ToValidUTF8(key, "\uFFFD"),
		Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "\uFFFD")}},
	}
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

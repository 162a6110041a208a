package conf

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatalf("the schema does not compile: %v", err)
	}
	return s
}

func validateYAML(t *testing.T, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if v == nil {
		v = map[string]any{}
	}
	return s.Validate(v)
}

func TestSchemaAcceptsGoodDocuments(t *testing.T) {
	s := compileSchema(t)
	for _, file := range goodFiles(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validateYAML(t, s, data); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		d, _ := Parse(file, data, goodEnv)
		effective, err := Effective(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := validateYAML(t, s, effective); err != nil {
			t.Errorf("effective form of %s: %v", filepath.Base(file), err)
		}
	}
}

func TestSchemaRejects(t *testing.T) {
	s := compileSchema(t)
	for name, text := range map[string]string{
		"unknown key":        `nod: {}`,
		"unknown nested key": `node: {nam: a}`,
		"missing key":        `listeners: [{redirect: https}]`,
		"wrong kind":         `listeners: {address: ":80"}`,
		"unknown word":       `logs: {level: loud}`,
		"word in a list":     `services: {a: {upstreams: ["http://a"], retry: {on: [500]}}}`,
		"number as text":     `auth: {cache_tokens: many}`,
		"below the minimum":  `tiers: {a: {requests: 0}}`,
		"above the maximum":  `waf: {paranoia: 5}`,
		"duration":           `node: {drain_timeout: 30}`,
		"duration word":      `node: {drain_timeout: 30 seconds}`,
		"size":               `listeners: [{address: ":80", max_header: 64k}]`,
		"rate":               `tiers: {a: {requests: 1, burst: {rate: 50}}}`,
		"percent":            `traces: {otlp: "http://a", sample: 20}`,
		"network":            `waf: {ip: {deny: [localhost]}}`,
		"upstream":           `services: {a: {upstreams: [[a]]}}`,
		"boolean":            `listeners: [{address: ":80", http3: "yes"}]`,
		"empty name":         `tiers: {"": {requests: 1}}`,
	} {
		if err := validateYAML(t, s, []byte(text)); err == nil {
			t.Errorf("%s: %s is accepted", name, text)
		}
	}
}

package conf

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} by the variable NAME, ${NAME:-text} by text when the
// variable is unset or empty, and $${ by ${. Any other $ stands for itself. What
// a variable holds is not expanded again.
//
// On a fault it returns the byte offset of the expression in text.
func expand(text string, env func(string) (string, bool)) (expanded string, used bool, offset int, err *valueError) {
	if !strings.Contains(text, "${") {
		return text, false, 0, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], "$${") {
			b.WriteString("${")
			i += 3
			continue
		}
		if !strings.HasPrefix(text[i:], "${") {
			b.WriteByte(text[i])
			i++
			continue
		}
		length := strings.IndexByte(text[i:], '}')
		if length < 0 {
			return "", true, i, &valueError{"the variable is not closed", "write ${NAME} or ${NAME:-default}; $${ is a plain ${"}
		}
		name, fallback, hasFallback := strings.Cut(text[i+2:i+length], ":-")
		if !variableName(name) {
			return "", true, i, &valueError{"this is no name of a variable", "write ${NAME} or ${NAME:-default}; $${ is a plain ${"}
		}
		value, set := env(name)
		switch {
		case set && (value != "" || !hasFallback):
			b.WriteString(value)
		case hasFallback:
			b.WriteString(fallback)
		default:
			return "", true, i, &valueError{fmt.Sprintf("the environment variable %s is not set", name), fmt.Sprintf("set it, or give a default as ${%s:-default}", name)}
		}
		used = true
		i += length + 1
	}
	return b.String(), used, 0, nil
}

func variableName(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// escapeVariables is the inverse of expand for a text without variables.
func escapeVariables(text string) string { return strings.ReplaceAll(text, "${", "$${") }

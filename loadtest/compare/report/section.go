package report

import (
	"fmt"
	"strings"
)

// ReplaceSection puts text between the lines that hold begin and end in a
// document, and leaves everything else as it is.
func ReplaceSection(document, begin, end, text string) (string, error) {
	before, rest, ok := strings.Cut(document, begin+"\n")
	if !ok {
		return "", fmt.Errorf("no line %q", begin)
	}
	_, after, ok := strings.Cut(rest, end+"\n")
	if !ok {
		return "", fmt.Errorf("no line %q after %q", end, begin)
	}
	return before + begin + "\n" + strings.TrimRight(text, "\n") + "\n" + end + "\n" + after, nil
}

package conf

import (
	"strconv"
	"strings"
)

// report collects the problems of one document.
type report struct {
	file     string
	problems Problems
	failed   map[string]bool // paths with an error: nothing more is said about them
	dropped  int
}

// maxProblems bounds what a hopeless file makes us say and keep.
const maxProblems = 200

// at adds an error. The first at a path is the cause; later ones are dropped.
func (r *report) at(pos Position, path, message, hint string) {
	if path != "" && r.failed[path] {
		return
	}
	r.failed[path] = true
	r.add(Problem{Position: pos, Path: path, Message: message, Hint: hint})
}

// warnAt adds a warning.
func (r *report) warnAt(pos Position, path, message, hint string) {
	r.add(Problem{Position: pos, Path: path, Severity: SeverityWarning, Message: message, Hint: hint})
}

func (r *report) add(p Problem) {
	if len(r.problems) >= maxProblems {
		r.dropped++
		return
	}
	r.problems = append(r.problems, p)
}

func (r *report) finish() Problems {
	r.problems.Sort()
	if r.dropped > 0 {
		last := r.problems[len(r.problems)-1].Position
		r.problems = append(r.problems, Problem{
			Position: last, Message: counted(r.dropped, "further problem") + " not shown", Hint: "correct the first ones and check again",
		})
	}
	return r.problems
}

// keyPath returns the path of key in the mapping at base.
func keyPath(base, key string) string {
	if !plainKey(key) {
		return base + "[" + strconv.Quote(key) + "]"
	}
	if base == "" {
		return key
	}
	return base + "." + key
}

func plainKey(key string) bool {
	for _, c := range key {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return key != ""
}

// indexPath returns the path of element i of the list at base.
func indexPath(base string, i int) string { return base + "[" + strconv.Itoa(i) + "]" }

// parentPath returns the path around path, "" for a section of the document.
// It undoes keyPath and indexPath.
func parentPath(path string) string {
	if strings.HasSuffix(path, `"]`) {
		// A quoted key may itself hold brackets and dots: find the bracket
		// that opens it by trying the quotes from the right.
		for i := strings.LastIndex(path[:len(path)-1], `["`); i >= 0; i = strings.LastIndex(path[:i], `["`) {
			if _, err := strconv.Unquote(path[i+1 : len(path)-1]); err == nil {
				return path[:i]
			}
		}
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

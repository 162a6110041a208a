package conf

import "strings"

// suggest returns the candidate that word was probably meant to be, or "".
func suggest(word string, candidates []string) string {
	// A third of the letters may be wrong; one or two letters are no typing error.
	best, bestDistance := "", 1+len(word)/3
	for _, c := range candidates {
		if folded(c) == folded(word) {
			return c // leastRequest, Least-Request
		}
		if d := editDistance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func folded(word string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(word))
}

// editDistance counts the letters to insert, delete, replace or swap with their
// neighbour on the way from a to b (optimal string alignment), giving up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// didYouMean returns the hint for an unknown word: the probable one, and all of
// them while they are few.
func didYouMean(word string, noun string, candidates []string) string {
	if len(candidates) == 0 {
		return "there are no " + noun
	}
	all := strings.Join(candidates, ", ")
	if len(candidates) > 20 {
		all = strings.Join(candidates[:20], ", ") + ", …"
	}
	if s := suggest(word, candidates); s != "" {
		return "did you mean \"" + s + "\"? (" + all + ")"
	}
	return "the " + noun + " are " + all
}

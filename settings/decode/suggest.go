package decode

import (
	"fmt"
	"strings"
)

// Suggest returns a hint at the known word that was probably intended, or "" if none
// is similar.
func Suggest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, closest := longName(word, known), 3
	if best != "" {
		return fmt.Sprintf(" (did you mean %s?)", best)
	}
	for _, k := range known {
		if n := distance(fold(word), fold(k)); n < closest && 2*n < len(k) {
			best, closest = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// longName returns the only known word that ends with word, such as trusted_issuers
// for issuers.
func longName(word string, known []string) (found string) {
	for _, k := range known {
		if !strings.HasSuffix(k, "_"+strings.ToLower(word)) {
			continue
		}
		if found != "" {
			return ""
		}
		found = k
	}
	return found
}

// fold removes the differences between naming styles: accessTokenTTL, access-token-ttl.
func fold(word string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(word))
}

// distance returns the Levenshtein distance between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

package decode

import (
	"fmt"
	"strings"
)

// Suggest returns a hint at the known word that word was probably meant to be,
// empty if none is close.
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

// longName is the only known word that ends with word, as trusted_issuers does
// with issuers.
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

// fold drops what naming styles differ in: accessTokenTTL, access-token-ttl.
func fold(word string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(word))
}

// distance is how many letters to add, drop or change to make a into b.
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

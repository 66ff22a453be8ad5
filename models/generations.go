package models

import (
	"fmt"
	"strings"
)

// maxGenerationRanges limits the size of a set of generations in its row.
const maxGenerationRanges = 64

// Generations is a set of generations of one chain in ascending order. It grows
// only at its upper end.
type Generations []generationRange

// generationRange is the generations from From up to but not including To.
type generationRange struct{ From, To uint32 }

// Add returns the set with a generation that is higher than all others in it.
// If there are more than 64 ranges, the lowest one is dropped.
func (g Generations) Add(generation uint32) Generations {
	if n := len(g); n > 0 && g[n-1].To == generation {
		g = append(Generations(nil), g...)
		g[n-1].To++
		return g
	}
	g = append(g[:len(g):len(g)], generationRange{generation, generation + 1})
	return g[max(0, len(g)-maxGenerationRanges):]
}

// Has reports whether the set holds a generation.
func (g Generations) Has(generation uint32) bool {
	for _, r := range g {
		if r.From <= generation && generation < r.To {
			return true
		}
	}
	return false
}

// split returns what the columns of a row hold: the last range, and the earlier
// ones as text, such as "0-1,4-7".
func (g Generations) split() (last generationRange, earlier *string) {
	if len(g) == 0 {
		return last, nil
	}
	last, g = g[len(g)-1], g[:len(g)-1]
	if len(g) == 0 {
		return last, nil
	}
	texts := make([]string, len(g))
	for i, r := range g {
		texts[i] = fmt.Sprintf("%d-%d", r.From, r.To)
	}
	text := strings.Join(texts, ",")
	return last, &text
}

// joinGenerations is the inverse of split.
func joinGenerations(last generationRange, earlier string) (Generations, error) {
	var g Generations
	for text := range strings.SplitSeq(earlier, ",") {
		if text == "" {
			continue
		}
		var r generationRange
		if _, err := fmt.Sscanf(text, "%d-%d", &r.From, &r.To); err != nil {
			return nil, fmt.Errorf("superseded_earlier: %q is not a range of generations", text)
		}
		g = append(g, r)
	}
	if last.From < last.To {
		g = append(g, last)
	}
	return g, nil
}

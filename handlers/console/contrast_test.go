package console

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// pairs are the colours that console.css puts on each other: text on a background with
// a contrast of at least 4.5, and edges of fields and marks of states with at least 3
// (WCAG 2.2, 1.4.3 and 1.4.11).
var pairs = []struct {
	least float64
	front []string
	back  []string
}{
	{4.5, []string{"text", "muted", "accent", "accent-strong", "good", "warning", "bad"}, []string{"page", "panel", "sunken"}},
	{4.5, []string{"on-accent"}, []string{"accent", "accent-strong"}},
	{4.5, []string{"on-bad"}, []string{"bad", "bad-strong"}},
	{4.5, []string{"text", "muted", "accent"}, []string{"accent-soft", "good-soft", "warning-soft", "bad-soft"}},
	{4.5, []string{"good"}, []string{"good-soft"}},
	{4.5, []string{"warning"}, []string{"warning-soft"}},
	{4.5, []string{"bad"}, []string{"bad-soft"}},
	{4.5, []string{"second"}, []string{"panel", "sunken"}}, // values in JSON
	{3, []string{"edge", "first", "second", "third"}, []string{"panel"}},
}

func TestContrast(t *testing.T) {
	sheet, err := os.ReadFile("static/console.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`(?s):root \{(.*?)\n\t?\}`).FindAllSubmatch(sheet, -1)
	if len(roots) != 2 {
		t.Fatalf("console.css has %d sets of tokens, expected a light and a dark one", len(roots))
	}
	for i, scheme := range []string{"light", "dark"} {
		tokens := map[string]string{}
		for _, token := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllSubmatch(roots[i][1], -1) {
			tokens[string(token[1])] = string(token[2])
		}
		for _, pair := range pairs {
			for _, front := range pair.front {
				for _, back := range pair.back {
					if tokens[front] == "" || tokens[back] == "" {
						t.Fatalf("%s: the token %s or %s is missing", scheme, front, back)
					}
					if got := contrast(t, tokens[front], tokens[back]); got < pair.least {
						t.Errorf("%s: %s on %s has a contrast of %.2f, expected at least %.1f", scheme, front, back, got, pair.least)
					}
				}
			}
		}
	}
}

// contrast returns the contrast ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance returns the relative luminance of an sRGB colour.
func luminance(t *testing.T, colour string) (sum float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/handlers/admin"
)

// functions are what the templates can call.
var functions = template.FuncMap{
	"static": staticURL, "plural": plural, "number": number, "upTo": upTo, "query": query, "json": indented, "when": when, "list": func(items ...any) []any { return items },
	"sentence": sentence, "join": func(list []string) string { return strings.Join(list, ", ") }, "dict": dict, "value": valueText,
}

// plural returns a number with a noun: "1 session", "1,204 sessions".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// number writes a number with separators.
func number(n any) string {
	digits := fmt.Sprint(n)
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "-", rest
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// moment is a time as a page shows it: relative, with the exact time beside it.
type moment struct{ Relative, Exact, Machine string }

// Ago returns a time for a page, relative to the time of the request. It accepts a
// time.Time or a pointer to one.
func (v *visit) Ago(t any) moment {
	switch t := t.(type) {
	case time.Time:
		return when(t, v.now)
	case *time.Time:
		if t != nil {
			return when(*t, v.now)
		}
	}
	return moment{Relative: "never"}
}

func when(t, now time.Time) moment {
	t = t.UTC()
	return moment{relative(t.Sub(now)), t.Format("2 Jan 2006, 15:04:05 UTC"), t.Format(time.RFC3339)}
}

// relative returns a duration from now in words, in one unit.
func relative(d time.Duration) string {
	n, unit := span(d.Abs())
	switch {
	case d.Abs() < 5*time.Second:
		return "now"
	case d > 0:
		return "in " + plural(n, unit)
	}
	return plural(n, unit) + " ago"
}

// span returns a duration in its largest unit of which it has at least two, or one
// exactly.
func span(d time.Duration) (int, string) {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return int(d.Round(time.Second) / time.Second), "second"
	case d < 2*time.Hour:
		return int(d.Round(time.Minute) / time.Minute), "minute"
	case d < 2*day:
		return int(d.Round(time.Hour) / time.Hour), "hour"
	case d < 120*day:
		return int(d.Round(day) / day), "day"
	case d < 730*day:
		return int(d / (30 * day)), "month"
	}
	return int(d / (365 * day)), "year"
}

// query returns a path with a query of pairs: name, value, … Pairs with an empty value
// are left out.
func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// indented returns a value as JSON for people to read.
func indented(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// valueText returns a value of JSON in one line. A string has no quotes.
func valueText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// spaced returns a name with spaces in place of underscores.
func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

// sentence returns the text with a capital first letter and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// dict returns a map for a template that needs more than one value.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: the name %v is not a string", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// atoi returns a number of a query, or 0.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// parseTime returns the time of a field of type datetime-local, in UTC.
func parseTime(name, text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &admin.Problem{Status: http.StatusBadRequest, Errors: []admin.Fault{{Parameter: name, Detail: "must be a time such as 2026-11-30T12:00"}}}
}

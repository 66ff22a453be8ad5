package bff

import "strings"

// isPrivate reports whether Cache-Control restricts a response to the browser
// that requested it: it contains `private` or `no-store`, and nothing that
// allows a shared cache to store it. With an argument, `private` only concerns
// single headers (RFC 9111 §5.2.2.7). A value that does not parse restricts
// nothing.
func isPrivate(values []string) bool {
	restricted := false
	rest := strings.Join(values, ",")
	for rest != "" {
		var name string
		var argument, ok bool
		if name, argument, rest, ok = nextDirective(rest); !ok {
			return false
		}
		switch strings.ToLower(name) {
		case "private", "no-store":
			restricted = restricted || !argument
		case "public", "s-maxage":
			return false
		}
	}
	return restricted
}

// nextDirective splits off one cache directive: a token, optionally followed by
// "=" and a token or a quoted string (RFC 9111 §5.2, RFC 9110 §5.6).
func nextDirective(s string) (name string, argument bool, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	if s == "" {
		return "", false, "", true
	}
	if name, s = token(s); name == "" {
		return "", false, "", false
	}
	if after, found := strings.CutPrefix(s, "="); found {
		argument = true
		if s, ok = skipArgument(after); !ok {
			return "", false, "", false
		}
	}
	s = strings.TrimLeft(s, " \t")
	if s != "" && s[0] != ',' {
		return "", false, "", false
	}
	return name, argument, s, true
}

// skipArgument returns what follows a token or a quoted string.
func skipArgument(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest := token(s)
		return rest, value != ""
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[i+1:], true
		}
	}
	return "", false
}

// token splits off the longest token (RFC 9110 §5.6.2).
func token(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}

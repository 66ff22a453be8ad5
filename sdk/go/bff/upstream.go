package bff

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Upstream is an API that requests are forwarded to.
type Upstream struct {
	// URL is the base URL and ends with a slash, such as
	// "https://api.example.com/".
	URL string
	// Target is the recipient of the access tokens: the API itself, so that it
	// cannot use them elsewhere. The zero value sends the session's own access
	// token, which is valid for everything that the session was granted.
	Target latchkey.Target
	// PlainHTTP allows http:// where no one else can read or change the
	// traffic, such as a private network: access tokens are sent over it.
	// Loopback is always allowed.
	PlainHTTP bool
	// RequestHeaders and ResponseHeaders name further headers that may pass,
	// such as "X-Api-Version". By default those pass that APIs commonly need:
	// content negotiation, caching, conditions, ranges, rate limits and
	// tracing. Credentials, cookies, headers that a proxy sets, and names with
	// an underscore cannot be added.
	RequestHeaders  []string
	ResponseHeaders []string
}

// upstream is a validated Upstream.
type upstream struct {
	prefix string // of paths here, with a slash at both ends
	base   *url.URL
	target latchkey.Target

	requestHeaders, responseHeaders map[string]bool // canonical names that may pass
}

// parseUpstreams sorts by length, so that the first match is the longest.
func parseUpstreams(from map[string]Upstream) (list []upstream, err error) {
	for prefix, up := range from {
		base := up.URL
		u, err := url.Parse(base)
		switch {
		case !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/"):
			return nil, fmt.Errorf("bff: invalid prefix %q in Upstreams: expected a slash at both ends", prefix)
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/"):
			return nil, fmt.Errorf("bff: invalid upstream URL %q: expected a base URL with a slash at its end, without user, query and fragment", base)
		case u.Scheme != "https" && (u.Scheme != "http" || !up.PlainHTTP && !isLoopback(u.Host)):
			return nil, fmt.Errorf("bff: invalid upstream URL %q: expected https, or http with PlainHTTP", base)
		}
		parsed := upstream{prefix: prefix, base: u, target: up.Target}
		if parsed.requestHeaders, err = withHeaders(requestHeaders, up.RequestHeaders); err != nil {
			return nil, fmt.Errorf("bff: upstream %q: invalid RequestHeaders: %w", base, err)
		}
		if parsed.responseHeaders, err = withHeaders(responseHeaders, up.ResponseHeaders); err != nil {
			return nil, fmt.Errorf("bff: upstream %q: invalid ResponseHeaders: %w", base, err)
		}
		list = append(list, parsed)
	}
	slices.SortFunc(list, func(a, b upstream) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return list, nil
}

// route returns the upstream for a URL and the URL to forward to. A path that
// could leave its prefix once a server decodes it (even twice), cleans it, or
// removes parameters from its segments, is not forwarded.
func (b *BFF) route(u *url.URL) (up upstream, to *url.URL, ok bool) {
	if lower := strings.ToLower(u.EscapedPath()); strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") || isUnsafePath(u.Path) {
		return upstream{}, nil, false
	}
	if again, err := url.PathUnescape(u.Path); err == nil && again != u.Path && (isUnsafePath(again) || strings.Count(again, "/") != strings.Count(u.Path, "/")) {
		return upstream{}, nil, false
	}
	for _, candidate := range b.upstreams {
		if rest, ok := strings.CutPrefix(u.Path, candidate.prefix); ok {
			copied := *candidate.base
			copied.Path += rest
			copied.RawPath = candidate.base.EscapedPath() + afterSegments(u.EscapedPath(), strings.Count(candidate.prefix, "/"))
			return candidate, &copied, true
		}
	}
	return upstream{}, nil, false
}

// isUnsafePath reports whether a path has a segment "." or "..", or a character
// that some servers treat as a slash or an end.
func isUnsafePath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return true
		}
	}
	return strings.ContainsAny(path, "\\\x00")
}

// afterSegments returns what follows the nth slash.
func afterSegments(path string, n int) string {
	for range n {
		_, path, _ = strings.Cut(path, "/")
	}
	return path
}

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
	// URL is the base, with a slash at its end, such as "https://api.example.com/".
	URL string
	// Target is who the API's access tokens are for: the API itself, so that it can
	// use them nowhere else. The zero value hands it the session's own, which is
	// good at everything that the session was granted.
	Target latchkey.Target
	// PlainHTTP allows http:// where nobody else can read or change what is sent,
	// such as a private network: access tokens go over it. Loopback needs no leave.
	PlainHTTP bool
	// RequestHeaders and ResponseHeaders are names of further headers that may pass,
	// such as "X-Api-Version". By default those pass that an API commonly needs:
	// content negotiation, caching, conditions, ranges, rate limits and tracing.
	// Credentials, cookies, what a proxy says about the caller, and names with an
	// underscore cannot be added.
	RequestHeaders  []string
	ResponseHeaders []string
}

// upstream is an Upstream that was checked.
type upstream struct {
	prefix string // of paths here, with a slash at both ends
	base   *url.URL
	target latchkey.Target

	requestHeaders, responseHeaders map[string]bool // canonical names that may pass
}

// parseUpstreams sorts by length, so that the first that fits is the longest.
func parseUpstreams(from map[string]Upstream) (list []upstream, err error) {
	for prefix, up := range from {
		base := up.URL
		u, err := url.Parse(base)
		switch {
		case !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/"):
			return nil, fmt.Errorf("bff: the upstream prefix %q has no slash at both ends", prefix)
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/"):
			return nil, fmt.Errorf("bff: the upstream %q is no base URL that ends with a slash", base)
		case u.Scheme != "https" && (u.Scheme != "http" || !up.PlainHTTP && !isLoopback(u.Host)):
			return nil, fmt.Errorf("bff: the upstream %q is not https, and not allowed to be PlainHTTP", base)
		}
		parsed := upstream{prefix: prefix, base: u, target: up.Target}
		if parsed.requestHeaders, err = withHeaders(requestHeaders, up.RequestHeaders); err != nil {
			return nil, fmt.Errorf("bff: the upstream %q: RequestHeaders: %w", base, err)
		}
		if parsed.responseHeaders, err = withHeaders(responseHeaders, up.ResponseHeaders); err != nil {
			return nil, fmt.Errorf("bff: the upstream %q: ResponseHeaders: %w", base, err)
		}
		list = append(list, parsed)
	}
	slices.SortFunc(list, func(a, b upstream) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return list, nil
}

// route is where a request for a URL goes. Not ok: nowhere. A path that leaves
// its prefix once somebody has decoded it, twice even, cleaned it, or taken
// parameters off its segments, goes nowhere.
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

// isUnsafePath says whether a path goes up, or has what some take for a slash.
func isUnsafePath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return true
		}
	}
	return strings.ContainsAny(path, "\\\x00")
}

// afterSegments is what follows the nth slash.
func afterSegments(path string, n int) string {
	for range n {
		_, path, _ = strings.Cut(path, "/")
	}
	return path
}

package bff

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// upstream is an API that requests are forwarded to.
type upstream struct {
	prefix string // of paths here, with a slash at both ends
	base   *url.URL
}

// parseUpstreams sorts by length, so that the first that fits is the longest.
func parseUpstreams(from map[string]string) (list []upstream, err error) {
	for prefix, base := range from {
		u, err := url.Parse(base)
		switch {
		case !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/"):
			return nil, fmt.Errorf("bff: the upstream prefix %q has no slash at both ends", prefix)
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/"):
			return nil, fmt.Errorf("bff: the upstream %q is no base URL that ends with a slash", base)
		case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Host)):
			return nil, fmt.Errorf("bff: the upstream %q is not https", base)
		}
		list = append(list, upstream{prefix, u})
	}
	slices.SortFunc(list, func(a, b upstream) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return list, nil
}

// target is where a request for a URL goes. Not ok: nowhere. A path that leaves
// its prefix, once somebody has decoded or cleaned it, goes nowhere.
func (b *BFF) target(u *url.URL) (to *url.URL, ok bool) {
	path := u.EscapedPath()
	if strings.Contains(strings.ToLower(path), "%2f") || strings.Contains(u.Path, `\`) {
		return nil, false
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, false
		}
	}
	for _, candidate := range b.upstreams {
		if rest, ok := strings.CutPrefix(path, candidate.prefix); ok {
			copied := *candidate.base
			copied.Path += strings.TrimPrefix(u.Path, candidate.prefix)
			copied.RawPath = candidate.base.EscapedPath() + rest
			return &copied, true
		}
	}
	return nil, false
}

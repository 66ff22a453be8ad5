package settings

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
)

// shellOrigin matches the origins of app shells and browser extensions.
var shellOrigin = regexp.MustCompile(`^(capacitor://localhost|ionic://localhost|tauri://localhost` +
	`|app://(\.|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:[1-9][0-9]{0,4})?` +
	`|chrome-extension://[a-p]{32}` +
	`|(moz|safari-web)-extension://[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)

const wildcard = "https://*."

// oneLabel matches the label that a wildcard represents.
var oneLabel = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// checkOrigin checks an entry of a client's `origins`: an origin as a browser sends
// it, or https with one wildcard label.
func checkOrigin(s string) error {
	switch {
	case s == "null":
		return errors.New("must not be null, which every sandboxed page sends")
	case s == "*", s == "https://*", s == "http://*":
		return errors.New("must name a host: a wildcard alone would allow every page")
	case shellOrigin.MatchString(s):
		return nil
	case strings.Contains(s, "*"):
		return checkWildcard(s)
	}
	u, err := ParseOrigin(s)
	switch {
	case err != nil && !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://"):
		return errors.New("must be https://host or https://host:port, the origin of an app shell (capacitor://localhost, ionic://localhost, tauri://localhost, app://host) or of a browser extension")
	case err != nil:
		return err
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		return errors.New("must be https; http is allowed only for loopback hosts, such as http://localhost:3000")
	}
	return nil
}

// checkWildcard checks https://*.domain[:port]: the wildcard is the first label, and
// the domain has at least two labels.
func checkWildcard(s string) error {
	domain, ok := strings.CutPrefix(s, wildcard)
	if !ok || strings.Contains(domain, "*") {
		return errors.New("may have one wildcard, which must be the whole first label after https://, such as https://*.preview.example.com")
	}
	u, err := ParseOrigin("https://" + domain)
	switch {
	case err != nil:
		return err
	case !strings.Contains(u.Hostname(), ".") || isAddress(u.Hostname()):
		return errors.New("must name a domain of at least two labels after the wildcard, such as https://*.preview.example.com")
	}
	return nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func loopbackHost(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.IsLoopback()
}

// OriginSet is a set of origins. The zero value is empty.
type OriginSet struct {
	exact    map[string]bool
	suffixes map[string]bool // wildcards, as ".domain[:port]"
}

// Add adds entries of a client's `origins`.
func (s *OriginSet) Add(origins ...string) {
	if s.exact == nil {
		s.exact, s.suffixes = map[string]bool{}, map[string]bool{}
	}
	for _, o := range origins {
		if domain, ok := strings.CutPrefix(o, wildcard); ok {
			s.suffixes["."+domain] = true
		} else {
			s.exact[o] = true
		}
	}
}

// Has reports whether the set contains an origin that a browser has sent. It
// compares origins as strings; a wildcard matches exactly one label. The set never
// contains the origin null or an empty origin.
func (s *OriginSet) Has(origin string) bool {
	if origin == "" || origin == "null" {
		return false
	}
	if s.exact[origin] {
		return true
	}
	host, ok := strings.CutPrefix(origin, "https://")
	label, _, dotted := strings.Cut(host, ".")
	return ok && dotted && oneLabel.MatchString(label) && s.suffixes[host[len(label):]]
}

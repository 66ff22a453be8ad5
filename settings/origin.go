package settings

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
)

// Origins of app shells and of browser extensions, as they send them.
var shellOrigin = regexp.MustCompile(`^(capacitor://localhost|ionic://localhost|tauri://localhost` +
	`|app://(\.|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:[1-9][0-9]{0,4})?` +
	`|chrome-extension://[a-p]{32}` +
	`|(moz|safari-web)-extension://[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)

const wildcard = "https://*."

// oneLabel is what a wildcard stands for.
var oneLabel = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// checkOrigin checks an entry of a client's `origins`: an origin as the browser
// of an app sends it, or https with one wildcard label.
func checkOrigin(s string) error {
	switch {
	case s == "null":
		return errors.New("must not be null, which every sandboxed page sends")
	case s == "*", s == "https://*", s == "http://*":
		return errors.New("must name a host: a bare wildcard would let every page in")
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
		return errors.New("must be https; http is for loopback hosts, such as http://localhost:3000")
	}
	return nil
}

// checkWildcard checks https://*.domain[:port]: one label at the front, of a
// domain with at least two.
func checkWildcard(s string) error {
	domain, ok := strings.CutPrefix(s, wildcard)
	if !ok || strings.Contains(domain, "*") {
		return errors.New("may have one wildcard, as the whole first label after https://, such as https://*.preview.example.com")
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

// OriginSet is a list of origins, ready to be looked up. The zero value has
// none.
type OriginSet struct {
	exact    map[string]bool
	suffixes map[string]bool // of wildcards: ".domain[:port]"
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

// Has reports whether the set lists what a browser sent as its origin. Origins
// are compared as they stand; a wildcard stands for exactly one label. The
// origin null, and none, are never listed.
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

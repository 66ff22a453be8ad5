package settings

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// rule returns what is wrong with a value, or "" if it is valid. It never quotes the
// value.
type rule func(string) string

func oneOf(allowed ...string) rule {
	return func(s string) string {
		if slices.Contains(allowed, s) {
			return ""
		}
		return "must be one of " + strings.Join(allowed, ", ")
	}
}

func matches(pattern *regexp.Regexp, is string) rule {
	return func(s string) string {
		if pattern.MatchString(s) {
			return ""
		}
		return "must be " + is
	}
}

// text allows any text without control characters, up to limit bytes.
func text(limit int) rule {
	return func(s string) string {
		switch {
		case len(s) > limit:
			return "is too long"
		case strings.ContainsFunc(s, unicode.IsControl):
			return "must not contain control characters"
		}
		return ""
	}
}

// printable allows printable ASCII, including the space.
func printable(least, most int) rule {
	return func(s string) string {
		odd := func(r rune) bool { return r < ' ' || r > '~' }
		if len(s) < least || len(s) > most || strings.ContainsFunc(s, odd) {
			return fmt.Sprintf("must be %d–%d printable ASCII characters", least, most)
		}
		return ""
	}
}

// absoluteURI checks a URI that names a resource: absolute and without a fragment
// (RFC 8707 §2).
func absoluteURI(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "" || u.Host+u.Opaque == "" || !visible.MatchString(s):
		return "must be an absolute URI"
	case len(s) > 1024:
		return "is too long"
	case strings.Contains(s, "#"):
		return "must not have a fragment"
	case u.User != nil:
		return "must not contain a user name or password"
	}
	return ""
}

// visible matches ASCII without spaces.
var visible = regexp.MustCompile(`^[!-~]+$`)

// fetched checks a URL that the server fetches: https, or http if the entry allows
// private addresses.
func fetched(private bool) rule {
	return func(s string) string {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
			return "must be an https URL"
		}
		if u.Scheme == "http" && !private {
			return "must be https; http requires allow_private_addresses: true"
		}
		return absoluteURI(s)
	}
}

var hostPort = regexp.MustCompile(`^([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)

// ParseOrigin parses an origin as browsers write it, scheme://host[:port] (RFC 6454
// §6.2): http or https, in lower case, without a default port. Its error does not
// quote s.
func ParseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must be https://host or https://host:port")
	case u.User != nil:
		return nil, errors.New("must not contain a user name or password")
	case strings.ContainsAny(s, "?#"):
		return nil, errors.New("must not have a query or a fragment")
	case u.Path == "/":
		return nil, errors.New("must not end with a slash")
	case u.Path != "":
		return nil, errors.New("must not have a path")
	case s != strings.ToLower(s):
		return nil, errors.New("must be in lower case")
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return nil, errors.New("must not contain the default port")
	case !hostPort.MatchString(u.Host):
		return nil, errors.New("must name one host, in ASCII and without a wildcard")
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil && u.Port() != "" {
		return nil, errors.New("must have a port of at most 65535")
	}
	return u, nil
}

// ParseBase parses the base URL of a deployment: an origin, followed by a path if
// the server shares its host with other programs.
func ParseBase(s string) (*url.URL, error) {
	origin, path := s, ""
	if _, rest, ok := strings.Cut(s, "://"); ok {
		if host, _, more := strings.Cut(rest, "/"); more {
			origin, path = s[:len(s)-len(rest)+len(host)], rest[len(host):]
		}
	}
	u, err := ParseOrigin(origin)
	if err != nil || path == "" {
		return u, err
	}
	if strings.HasSuffix(path, "/") {
		return nil, errors.New("must not end with a slash")
	}
	for _, segment := range strings.Split(path[1:], "/") {
		switch {
		case !basePath.MatchString(segment) || strings.Trim(segment, ".") == "":
			return nil, errors.New("may have a path only of letters, digits and . _ ~ - between single slashes")
		case segment == "t" || segment == ".well-known" || segment == "sessions":
			return nil, fmt.Errorf("must not have %q in its path: the server uses it", segment)
		}
	}
	u.Path = path
	return u, nil
}

var basePath = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

func origin(s string) string {
	if err := checkOrigin(s); err != nil {
		return err.Error()
	}
	return ""
}

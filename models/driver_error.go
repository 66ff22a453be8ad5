package models

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// driverError is an error of a driver with a text that is safe to log.
type driverError struct {
	text  string
	cause error
}

// Error implements error.
func (e *driverError) Error() string { return e.text }

// Unwrap implements errors.Unwrap.
func (e *driverError) Unwrap() error { return e.cause }

// urlParts finds the parts of a database URL in a text.
type urlParts struct {
	pattern *regexp.Regexp
	names   map[string]string // replacement of each part
}

// partsOf returns the parts of every server in a URL.
func partsOf(text string, cfg *pgx.ConnConfig) *urlParts {
	p := &urlParts{names: map[string]string{}}
	add := func(name, value string) {
		const least = 2 // a single letter is not a secret, and occurs everywhere
		if _, known := p.names[value]; !known && len(value) >= least {
			p.names[value] = name
		}
	}
	add("(password)", cfg.Password)
	add("(user)", cfg.User)
	add("(database)", cfg.Database)
	server := func(host string, port uint16) {
		add("(host)", host)
		add("(port)", strconv.Itoa(int(port)))
	}
	server(cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		server(f.Host, f.Port)
	}
	if u, err := url.Parse(text); err == nil {
		add("(user)", u.User.Username())
	}
	words := make([]string, 0, len(p.names))
	for word := range p.names {
		words = append(words, regexp.QuoteMeta(word))
	}
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) }) // prefer the longest match
	p.pattern = regexp.MustCompile(`(^|[^A-Za-z0-9_])(` + strings.Join(words, "|") + `)($|[^A-Za-z0-9_])`)
	return p
}

// hide replaces the parts of the URL in a text. Servers and poolers quote them
// in their errors.
func (p *urlParts) hide(text string) string {
	if p == nil {
		return text
	}
	for range 2 { // the character between two parts can belong to one match only
		text = p.pattern.ReplaceAllStringFunc(text, func(found string) string {
			m := p.pattern.FindStringSubmatch(found)
			return m[1] + p.names[m[2]] + m[3]
		})
	}
	return text
}

// describe returns the text of an error without hosts, addresses, the user and
// the database, which the errors of the driver and of the network name.
func (p *urlParts) describe(err error) string {
	var pg *pgconn.PgError
	var connecting *pgconn.ConnectError
	var network *net.OpError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &pg):
		return p.hide(pg.Message) + " (SQLSTATE " + pg.Code + ")"
	case errors.As(err, &connecting):
		return "cannot connect: " + strings.Join(p.attempts(connecting.Unwrap()), "; ")
	case errors.As(err, &lookup):
		return lookupFailure(lookup)
	case errors.As(err, &network):
		return network.Op + ": " + p.describe(network.Err)
	default:
		return p.hide(err.Error())
	}
}

func lookupFailure(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "host name lookup: no such host"
	case err.IsTimeout:
		return "host name lookup: timed out"
	default:
		return "host name lookup failed"
	}
}

// attempts returns why each address that was tried failed, each reason once.
func (p *urlParts) attempts(err error) (reasons []string) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			for _, reason := range p.attempts(one) {
				if !slices.Contains(reasons, reason) {
					reasons = append(reasons, reason)
				}
			}
		}
		return reasons
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		if _, ours := next.(unavailable); ours {
			break // the text around it has no address
		}
		switch err.(type) {
		case *net.OpError, *net.DNSError, *pgconn.PgError:
			return []string{p.describe(err)}
		}
		if _, several := next.(interface{ Unwrap() []error }); several {
			return p.attempts(next)
		}
		err = next
	}
	return []string{p.describe(err)}
}

// readable returns err with a text that is safe to log.
func (p *urlParts) readable(err error) error {
	text := p.describe(err)
	if text == err.Error() {
		return err
	}
	return &driverError{text, err}
}

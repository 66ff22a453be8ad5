package session

import (
	"net/netip"
	"slices"
	"strings"
)

// Device is where a request came from, as far as it is known.
type Device struct {
	IP        string
	UserAgent string
}

// OtherDevice reports whether two requests came from different networks (/24,
// or /48 for IPv6) and from different products. An update of a browser changes
// no product, and a phone that changes its network stays the same product, so
// neither is enough. Where an address is not known there is nothing to compare.
func OtherDevice(a, b Device) bool {
	netA, okA := network(a.IP)
	netB, okB := network(b.IP)
	return okA && okB && netA != netB && !slices.Equal(products(a.UserAgent), products(b.UserAgent))
}

// network is the part of an address that a home or an office shares.
func network(ip string) (netip.Prefix, bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	return prefix, err == nil
}

// products lists the names of a User-Agent (RFC 9110 §10.1.5) without versions
// and comments. Every browser begins with Mozilla, so the first name alone would
// not tell one from another.
func products(userAgent string) []string {
	var plain strings.Builder
	depth := 0
	for _, r := range userAgent {
		switch {
		case r == '(':
			depth++
			plain.WriteByte(' ')
		case r == ')':
			depth = max(0, depth-1)
		case depth == 0:
			plain.WriteRune(r)
		}
	}
	names := strings.Fields(plain.String())
	for i, name := range names {
		names[i], _, _ = strings.Cut(name, "/")
	}
	return names
}

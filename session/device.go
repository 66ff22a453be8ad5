package session

import (
	"net/netip"
	"slices"
	"strings"
)

// Device describes where a request came from, as far as it is known.
type Device struct {
	IP        string
	UserAgent string
}

// OtherDevice reports whether two requests came from different networks (/24,
// or /48 for IPv6) and from different products. Either difference alone is not
// enough: a phone that changes its network is still the same product, and an
// update of a browser does not change the product. If an address is not known,
// OtherDevice returns false.
func OtherDevice(a, b Device) bool {
	netA, okA := network(a.IP)
	netB, okB := network(b.IP)
	return okA && okB && netA != netB && !slices.Equal(products(a.UserAgent), products(b.UserAgent))
}

// network returns the part of an address that the devices of a home or an
// office share.
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

// products returns the names in a User-Agent (RFC 9110 §10.1.5) without
// versions and comments. Every browser begins with Mozilla, so the first name
// alone does not distinguish them.
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

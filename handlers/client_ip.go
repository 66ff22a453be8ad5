package handlers

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// proxies are the trusted proxies, whose X-Forwarded-For is used.
type proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger
	warned  atomic.Bool
}

// parseProxies parses addresses and CIDRs.
func parseProxies(list []string, log *slog.Logger) (*proxies, error) {
	p := &proxies{log: log}
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, err
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		p.trusted = append(p.trusted, prefix.Masked())
	}
	return p, nil
}

// trusts reports whether addr is that of a trusted proxy.
func (p *proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// clientIP returns the address that a request comes from. It is that of the
// connection or, if a trusted proxy holds the connection, the last one in
// X-Forwarded-For that is not a trusted proxy. Anybody may have written what
// precedes it.
func (p *proxies) clientIP(r *http.Request) string {
	addr, ok := readAddress(r.RemoteAddr)
	if !ok {
		return ""
	}
	if !p.trusts(addr) {
		return addr.String()
	}
	fields := r.Header.Values("X-Forwarded-For")
	if len(fields) == 0 && r.Header.Get("Forwarded") != "" {
		p.warn("a trusted proxy sends Forwarded, which is ignored; configure it to send X-Forwarded-For", addr)
	}
	hops := strings.Split(strings.Join(fields, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if strings.TrimSpace(hop) == "" {
			continue
		}
		next, ok := readAddress(hop)
		if !ok {
			p.warn("a trusted proxy sends a malformed X-Forwarded-For; using the address of the last trusted proxy", addr)
			break
		}
		if addr = next; !p.trusts(addr) {
			break
		}
	}
	return addr.String()
}

// warn logs a warning once. It does not log the header, which any caller can
// choose.
func (p *proxies) warn(message string, proxy netip.Addr) {
	if p.warned.CompareAndSwap(false, true) {
		p.log.Warn(message, "proxy", proxy.String())
	}
}

// readAddress parses an address in the forms that proxies write: 192.0.2.1,
// 192.0.2.1:4711, 2001:db8::1, [2001:db8::1], [2001:db8::1]:4711, each with or
// without quotes.
func readAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		host, _, splitErr := net.SplitHostPort(text)
		if splitErr != nil {
			return netip.Addr{}, false
		}
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.Addr{}, false
		}
	}
	return addr.Unmap().WithZone(""), true
}

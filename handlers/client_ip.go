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

// proxies are those whose X-Forwarded-For counts.
type proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger
	warned  atomic.Bool
}

// parseProxies reads addresses and CIDRs.
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

func (p *proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// clientIP is the address that a request comes from: that of its connection, or,
// if a trusted proxy holds the connection, the last one in X-Forwarded-For that is
// no trusted proxy's. What stands before it, anybody may have written.
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

// warn says once what is wrong; not what was sent, which may be a stranger's text.
func (p *proxies) warn(what string, proxy netip.Addr) {
	if p.warned.CompareAndSwap(false, true) {
		p.log.Warn(what, "proxy", proxy.String())
	}
}

// readAddress reads an address in the forms that proxies write: 192.0.2.1,
// 192.0.2.1:4711, 2001:db8::1, [2001:db8::1], [2001:db8::1]:4711, each in quotes or
// not.
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

package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/settings"
)

// listeners checks the listening addresses. With safe it also checks that tokens and
// secrets do not cross a network unencrypted (RFC 6749 §3.2, RFC 9700 §2.6).
func (v *validation) listeners(safe bool) {
	host, ok := v.address("listen", v.Listen, "such as 127.0.0.1:8080")
	if v.MetricsListen != None {
		v.address("metrics_listen", v.MetricsListen, "such as 127.0.0.1:9464, or none")
		if v.Given("metrics_listen") && v.MetricsListen == v.Listen && !strings.HasSuffix(v.Listen, ":0") {
			v.Add(v.at("metrics_listen"), `must differ from listen; use "none" to disable it`)
		}
	}
	adminHost, adminOK := "", false
	if v.AdminListen != None {
		adminHost, adminOK = v.address("admin_listen", v.AdminListen, "such as 127.0.0.1:8081, or none")
		if v.Given("admin_listen") && v.AdminListen == v.MetricsListen && !strings.HasSuffix(v.AdminListen, ":0") {
			v.Add(v.at("admin_listen"), `must differ from metrics_listen; use "none" to disable it`)
		}
	}
	origin, err := settings.ParseBase(v.Issuer)
	if err == nil && v.AdminShared() && (below("/console", origin.Path) || below("/admin/v1", origin.Path)) {
		v.Add(v.at("issuer"), "must not have the path of the console or of the admin API (/console, /admin/v1) if admin_listen is the value of listen")
	}
	if !safe || v.BehindProxy || v.TLS != (TLS{}) {
		return
	}
	public := err == nil && !loopback(origin.Hostname())
	if public || ok && !loopback(host) {
		v.Add(v.at("listen"), "would serve plain HTTP, which is safe only on a loopback address with a loopback issuer: set tls.cert_file and tls.key_file, or behind_proxy: true if a proxy terminates TLS")
	}
	if adminOK && !v.AdminShared() && !loopback(adminHost) {
		v.Add(v.at("admin_listen"), "would serve plain HTTP, which is safe only on a loopback address: set tls.cert_file and tls.key_file, or behind_proxy: true if a proxy terminates TLS")
	}
}

// address checks an address to listen on and returns its host.
func (v *validation) address(path, address, example string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if _, badPort := strconv.ParseUint(port, 10, 16); err != nil || badPort != nil {
		v.Add(v.at(path), "must be host:port, %s", example)
		return "", false
	}
	return host, true
}

// loopback reports whether host is this machine.
func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// below reports whether a path is that of a folder, or in it.
func below(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

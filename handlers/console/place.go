package console

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Places finds the place of an address in a file of MaxMind's format. It is safe for
// concurrent use.
type Places struct{ file *maxminddb.Reader }

// OpenPlaces opens a file, such as GeoLite2-City.mmdb.
func OpenPlaces(path string) (*Places, error) {
	file, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open console.geoip_file: %w", err)
	}
	return &Places{file}, nil
}

// Close closes the file.
func (p *Places) Close() error { return p.file.Close() }

// Of returns the place of an address in English, such as "Zürich, Switzerland", or "" if
// the file does not contain it.
func (p *Places) Of(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	type named struct {
		Names map[string]string `maxminddb:"names"`
	}
	var found struct {
		City    named `maxminddb:"city"`
		Country named `maxminddb:"country"`
	}
	if err := p.file.Lookup(addr.Unmap()).Decode(&found); err != nil {
		return ""
	}
	var parts []string
	for _, name := range []string{found.City.Names["en"], found.Country.Names["en"]} {
		if name != "" {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, ", ")
}

// place returns the place of an address, or "" if the operator has not brought a file.
func (v *visit) place(ip string) string {
	if v.Places == nil {
		return ""
	}
	return v.Places.Of(ip)
}

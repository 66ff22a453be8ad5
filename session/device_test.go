package session_test

import (
	"testing"

	"github.com/latchkey/latchkey/session"
)

func TestOtherDeviceNeedsAnotherNetworkAndAnotherProduct(t *testing.T) {
	const (
		firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
		later   = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0.2"
		safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
		home    = "203.0.113.7"
		away    = "198.51.100.7"
	)
	for name, c := range map[string]struct {
		last, now session.Device
		want      bool
	}{
		"the same device":                     {session.Device{IP: home, UserAgent: firefox}, session.Device{IP: home, UserAgent: firefox}, false},
		"another network and another product": {session.Device{IP: home, UserAgent: firefox}, session.Device{IP: away, UserAgent: safari}, true},
		"another network and a later version": {session.Device{IP: home, UserAgent: firefox}, session.Device{IP: away, UserAgent: later}, false},
		"another product in the same network": {session.Device{IP: home, UserAgent: firefox}, session.Device{IP: "203.0.113.250", UserAgent: safari}, false},
		"the next network":                    {session.Device{IP: home, UserAgent: "app/1"}, session.Device{IP: "203.0.112.7", UserAgent: "curl/8"}, true},
		"no product in the second request":    {session.Device{IP: home, UserAgent: firefox}, session.Device{IP: away}, true},
		"no product in the first request":     {session.Device{IP: home}, session.Device{IP: away, UserAgent: "curl/8"}, true},
		"an unknown first address":            {session.Device{UserAgent: firefox}, session.Device{IP: away, UserAgent: safari}, false},
		"an unknown second address":           {session.Device{IP: home, UserAgent: firefox}, session.Device{UserAgent: safari}, false},
		"an invalid address":                  {session.Device{IP: "unix", UserAgent: firefox}, session.Device{IP: away, UserAgent: safari}, false},
		"the same /48":                        {session.Device{IP: "2001:db8:1:1::1", UserAgent: "app/1"}, session.Device{IP: "2001:db8:1:ffff::1", UserAgent: "curl/8"}, false},
		"another /48":                         {session.Device{IP: "2001:db8:1:1::1", UserAgent: "app/1"}, session.Device{IP: "2001:db8:2:1::1", UserAgent: "curl/8"}, true},
		"IPv4 written as IPv6":                {session.Device{IP: home, UserAgent: "app/1"}, session.Device{IP: "::ffff:203.0.113.9", UserAgent: "curl/8"}, false},
		"an IPv6 zone":                        {session.Device{IP: "fe80::1%eth0", UserAgent: "app/1"}, session.Device{IP: "fe80::2%wlan0", UserAgent: "curl/8"}, false},
		"IPv4 and IPv6":                       {session.Device{IP: home, UserAgent: "app/1"}, session.Device{IP: "2001:db8::1", UserAgent: "curl/8"}, true},
		"a comment that is never closed":      {session.Device{IP: home, UserAgent: "app/1 (x"}, session.Device{IP: away, UserAgent: "app/2 (y"}, false},
		"one additional product":              {session.Device{IP: home, UserAgent: "app/1 lib/2"}, session.Device{IP: away, UserAgent: "app/1"}, true},
		"a comment that is closed twice":      {session.Device{IP: home, UserAgent: "app/1) lib"}, session.Device{IP: away, UserAgent: "app/2) lib"}, false},
		"other spaces and versions":           {session.Device{IP: home, UserAgent: " app/1  lib"}, session.Device{IP: away, UserAgent: "app/2 lib/3"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.OtherDevice(c.last, c.now); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if got := session.OtherDevice(c.now, c.last); got != c.want {
				t.Errorf("the other way round: %v, want %v", got, c.want)
			}
		})
	}
}

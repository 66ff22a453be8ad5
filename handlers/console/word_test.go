package console

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/latchkey/latchkey/handlers/admin"
)

func TestDevicesAreDescribedInWords(t *testing.T) {
	for agent, want := range map[string][2]string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0":                                                    {"computer", "Firefox on macOS"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":           {"computer", "Edge on Windows"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1": {"phone", "Safari on iPhone"},
		"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/140.0 Mobile/15E148 Safari/605.1.15":        {"tablet", "Firefox on iPad"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                         {"phone", "Chrome on Android"},
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36":                           {"program", "Headless Chrome on Linux"},
		"curl/8.5.0": {"program", "curl"}, "": {"program", "Unknown device"}, "<script>alert(1)</script>": {"program", "Unknown program"},
	} {
		if icon, words := readUserAgent(agent); icon != want[0] || words != want[1] {
			t.Errorf("%q is %s, %s; want %v", agent, icon, words, want)
		}
	}
}

func TestPlacesComeFromTheFileOfTheOperator(t *testing.T) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	names := func(name string) mmdbtype.Map {
		return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}}
	}
	for network, record := range map[string]mmdbtype.Map{
		"192.0.2.0/24": {"city": names("Zürich"), "country": names("Switzerland")}, "198.51.100.0/24": {"country": names("Canada")}, "2001:db8::/32": {"city": names("Oslo"), "country": names("Norway")},
	} {
		_, n, err := net.ParseCIDR(network)
		if err == nil {
			err = tree.Insert(n, record)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "city.mmdb")
	file, err := os.Create(path)
	if err == nil {
		_, err = tree.WriteTo(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	places, err := OpenPlaces(path)
	if err != nil {
		t.Fatal(err)
	}
	defer places.Close()
	for ip, want := range map[string]string{
		"192.0.2.7": "Zürich, Switzerland", "::ffff:192.0.2.7": "Zürich, Switzerland", "198.51.100.1": "Canada", "2001:db8::1": "Oslo, Norway", "203.0.113.1": "", "nowhere": "",
	} {
		if got := places.Of(ip); got != want {
			t.Errorf("%s is in %q, want %q", ip, got, want)
		}
	}
	d := describeDevice(admin.Device{IP: "192.0.2.7", UserAgent: "curl/8.5.0"}, places.Of)
	if d.Place != "Zürich, Switzerland" || describeDevice(admin.Device{IP: "192.0.2.7"}, nil).Place != "" {
		t.Errorf("the device is %+v", d)
	}
	if _, err := OpenPlaces(filepath.Join(t.TempDir(), "missing.mmdb")); err == nil {
		t.Error("a missing file opens")
	}
}

func TestTimesAreRelative(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", -30 * time.Second: "30 seconds ago", -3 * time.Minute: "3 minutes ago", 90 * time.Minute: "in 90 minutes", -5 * time.Hour: "5 hours ago",
		90 * 24 * time.Hour: "in 90 days", -400 * 24 * time.Hour: "13 months ago", -1000 * 24 * time.Hour: "2 years ago",
	} {
		if got := when(now.Add(d), now); got.Relative != want || got.Machine == "" || got.Exact == "" {
			t.Errorf("%s is %+v, want %s", d, got, want)
		}
	}
}

// Every form needs a role: an operation refuses others, but the page may read before.
func TestEveryFormNamesItsOperation(t *testing.T) {
	owner := admin.Machine("test")
	for _, r := range routes {
		if r.operation == "" && !r.dev || r.operation != "" && !owner.MayCall(r.operation) {
			t.Errorf("%s %s: there is no operation %q", r.method, r.path, r.operation)
		}
	}
}

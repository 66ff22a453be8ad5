package console

import (
	"regexp"

	"github.com/mileusna/useragent"

	"github.com/latchkey/latchkey/handlers/admin"
)

// device is a device in words. The User-Agent header is stored as it was sent, and read
// only here: what it means changes with the browsers.
type device struct {
	Icon  string
	Words string
	Place string // empty: not known
	IP    string
}

// program is the form of the product of a program that is no browser.
var program = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$`)

func describeDevice(d admin.Device, place func(ip string) string) device {
	icon, words := readUserAgent(d.UserAgent)
	if d.Name != "" {
		words = d.Name + " (" + words + ")"
	}
	out := device{Icon: icon, Words: words, IP: d.IP}
	if place != nil && d.IP != "" {
		out.Place = place(d.IP)
	}
	return out
}

// readUserAgent returns the icon of a device and its name in words, such as "Firefox on
// macOS".
func readUserAgent(text string) (icon, words string) {
	if text == "" {
		return "program", "Unknown device"
	}
	u := useragent.Parse(text)
	on := u.OS
	switch {
	case u.OS == useragent.IOS && u.Device != "":
		on = u.Device
	case u.Mobile || u.Tablet || u.Desktop:
	default:
		if program.MatchString(u.Name) {
			return "program", u.Name
		}
		return "program", "Unknown program"
	}
	icon = "computer"
	switch {
	case u.Bot:
		icon = "program"
	case u.Tablet:
		icon = "tablet"
	case u.Mobile:
		icon = "phone"
	}
	if on == "" {
		return icon, u.Name
	}
	return icon, u.Name + " on " + on
}

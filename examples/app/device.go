package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mileusna/useragent"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// device is a session as its user knows it: in words, without addresses and ids.
type device struct {
	ID       string // for the form that ends it
	Name     string // what the user called it, or what it is
	Kind     string // the icon: computer, phone or tablet
	What     string // such as "Firefox on Windows"; empty: Name says it
	Current  bool
	Active   string // such as "Active 5 minutes ago"
	SignedIn string // such as "Signed in yesterday with a passkey"
}

func newDevice(s *latchkey.SessionDetails, now time.Time) device {
	kind, what := describe(s.Device.UserAgent)
	d := device{
		ID: s.ID, Name: s.Device.Name, Kind: kind, What: what, Current: s.Current,
		Active:   "Active " + ago(s.LastActiveAt.Time, now),
		SignedIn: "Signed in " + ago(s.CreatedAt.Time, now),
	}
	if with := proof(s.AMR); with != "" {
		d.SignedIn += " with a " + with
	}
	if d.Name == "" {
		d.Name, d.What = what, ""
	}
	return d
}

// browsers and systems are the names that a user knows. An app may call itself anything,
// so no other name is shown.
var (
	browsers = []string{useragent.Chrome, useragent.Edge, useragent.Firefox, useragent.Opera, useragent.Safari, useragent.SamsungBrowser, useragent.Vivaldi}
	systems  = map[string]string{
		useragent.Android: "Android", useragent.ChromeOS: "ChromeOS", useragent.IOS: "iPhone", useragent.Linux: "Linux",
		useragent.MacOS: "Mac", useragent.Windows: "Windows",
	}
)

// describe returns a device in words, and the kind of device.
func describe(agent string) (kind, words string) {
	ua := useragent.Parse(agent)
	kind = "computer"
	switch {
	case ua.Tablet:
		kind = "tablet"
	case ua.Mobile:
		kind = "phone"
	}
	name := "An app"
	switch browser := strings.TrimPrefix(ua.Name, "Headless "); {
	case slices.Contains(browsers, browser):
		name = browser
	case strings.HasPrefix(agent, "Mozilla/"):
		name = "A browser"
	}
	system := systems[ua.OS]
	if ua.Device == "iPad" {
		system = "iPad"
	}
	if system == "" {
		return kind, name
	}
	return kind, name + " on " + system
}

// proof names the strongest way in which the user proved who they are.
func proof(amr []string) string {
	for _, method := range []struct{ value, name string }{{"hwk", "passkey"}, {"swk", "passkey"}, {"pwd", "password"}} {
		if slices.Contains(amr, method.value) {
			return method.name
		}
	}
	return ""
}

// ago says how long ago a time was.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < 2*time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes ago", d/time.Minute)
	case d < 2*time.Hour:
		return "an hour ago"
	case d < 24*time.Hour:
		return fmt.Sprintf("%d hours ago", d/time.Hour)
	case d < 48*time.Hour:
		return "yesterday"
	case d < 30*24*time.Hour:
		return fmt.Sprintf("%d days ago", d/(24*time.Hour))
	default:
		return "on " + t.Format("2 January 2006")
	}
}

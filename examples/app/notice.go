package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// endings are what a user reads when their session has ended, by the reason that
// Latchkey gives.
var endings = map[string]string{
	"signed_out":         "You signed out.",
	"revoked_by_user":    "You were signed out on another device.",
	"revoked_by_backend": "We signed you out. Sign in again to continue.",
	"revoked_by_admin":   "We signed you out. Sign in again to continue.",
	"reuse_detected":     "We signed you out to protect your account, because someone else may have used this session. If you do not know why, check your devices after you sign in.",
	"inconsistent":       "We signed you out to protect your account. Sign in again to continue.",
	"evicted":            "You were signed out here because you signed in on another device.",
	"idle":               "You were signed out because you were away for a long time.",
	"absolute":           "You have been signed in for a long time. Sign in again to continue.",
	"user_disabled":      "Your account is locked. Write to us, and we will help.",
	"other":              "You were signed out. Sign in again to continue.",
}

// endingsJSON returns endings for the page's script.
func endingsJSON() string {
	text, _ := json.Marshal(endings) // strings cannot fail
	return string(text)
}

// ending returns what a user reads when their session is over.
func ending(err error) string {
	if errors.Is(err, bff.ErrNoSession) {
		return "You signed out in another tab."
	}
	var rejected *latchkey.Error
	if errors.As(err, &rejected) && endings[rejected.EndReason] != "" {
		return endings[rejected.EndReason]
	}
	return endings["other"]
}

// over reports whether err means that nobody is signed in.
func over(err error) bool {
	return errors.Is(err, bff.ErrNoSession) || errors.Is(err, latchkey.ErrSessionEnded)
}

// The results of forms, which the next page shows. So does it why a session ended.
const (
	doneSignOut  = "signed-out"
	doneDevice   = "device"
	doneOthers   = "others"
	doneAll      = "everywhere"
	doneNothing  = ""
	doneParam    = "done"
	devicesParam = "devices"
	endedParam   = "ended"
)

// resultPath returns the path of the page that shows the result of a form.
func resultPath(done string, devices int) string {
	if done == doneNothing {
		return "/"
	}
	return "/?" + url.Values{doneParam: {done}, devicesParam: {strconv.Itoa(devices)}}.Encode()
}

// result returns the result of a form in words.
func result(q url.Values) string {
	n, _ := strconv.Atoi(q.Get(devicesParam))
	switch q.Get(doneParam) {
	case doneSignOut:
		return "You are signed out."
	case doneDevice:
		return "That device is signed out."
	case doneOthers:
		if n == 0 {
			return "You are not signed in on any other device."
		}
		return fmt.Sprintf("You are signed out on %s.", count(n, "other device"))
	case doneAll:
		return fmt.Sprintf("You are signed out everywhere: on %s.", count(n, "device"))
	default:
		return ""
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

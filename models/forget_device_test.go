package models_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// storesNoDevice is the tenant without device facts.
func storesNoDevice() settings.TenantSpec {
	spec, no := tenant(), false
	spec.StoreDevice = &no
	return spec
}

func TestDevicesAreClearedInBatchesAndOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for range 501 {
			w.create(w.alice())
		}
		elsewhere := w.alice()
		elsewhere.TenantID, elsewhere.ClientID, elsewhere.IssuerID = w.neighbour()
		w.create(elsewhere)
		w.apply(storesNoDevice())
		const known = "SELECT count(*) FROM sessions WHERE ip <> '' OR user_agent <> '' OR device_name <> ''"
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 502 {
			t.Errorf("before every node has heard of it, %d are left", n)
		}
		w.clock.Advance(15 * time.Second)
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 1 {
			t.Errorf("%d of 502 sessions have a device, want the one elsewhere", n)
		}
		w.exec("UPDATE sessions SET ip = '192.0.2.1' WHERE tenant_id = 'default'")
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 502 {
			t.Errorf("it goes through the table again: %d sessions are left", n)
		}
		again := storesNoDevice()
		again.KeyRotation = duration("none")
		w.apply(again)
		w.clock.Advance(15 * time.Second)
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 502 {
			t.Errorf("the same again switches nothing off: %d sessions are left", n)
		}
		w.apply(tenant())
		w.apply(storesNoDevice())
		w.apply(tenant())
		w.clock.Advance(time.Minute)
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 502 {
			t.Errorf("switched on again in time, %d are left", n)
		}
		w.apply(storesNoDevice())
		w.clock.Advance(15 * time.Second)
		must(t, w.ForgetDevices(t.Context()))
		if n := w.number(known); n != 1 {
			t.Errorf("switched off again, it leaves %d", n)
		}
	})
}

func TestApplyReportsWhetherDevicesAreStored(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for _, c := range []struct {
			spec settings.TenantSpec
			want string
		}{
			{storesNoDevice(), "~ tenant default\n    store_device: false\n"},
			{storesNoDevice(), ""},
			{tenant(), "~ tenant default\n    store_device: false → (default)\n    ! loosens: store_device is removed: name, user agent and address of devices are stored\n"},
		} {
			if got := printed(w.apply(c.spec)); got != c.want {
				t.Errorf("reported %q, want %q", got, c.want)
			}
		}
	})
}

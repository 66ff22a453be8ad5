package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Settings are the settings of a tenant, client or trusted issuer, by their names in a
// configuration file. They keep the settings of later releases, so that Put does not
// reset them. Numbers in a response are of the type [json.Number].
type Settings map[string]any

// Decode decodes the settings into a struct with JSON tags.
func (s Settings) Decode(into any) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// body returns the settings as the body of a request.
func (s Settings) body() Settings {
	if s == nil {
		return Settings{}
	}
	return s
}

// decodeResource decodes a resource: an object with id, status and the settings.
func decodeResource(text []byte, id *string, settings *Settings, status any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var members map[string]json.RawMessage
	if err := d.Decode(&members); err != nil {
		return err
	}
	*settings = Settings{}
	for name, value := range members {
		var err error
		switch name {
		case "id":
			err = json.Unmarshal(value, id)
		case "status":
			err = json.Unmarshal(value, status)
		default:
			d := json.NewDecoder(bytes.NewReader(value))
			d.UseNumber()
			var v any
			err = d.Decode(&v)
			(*settings)[name] = v
		}
		if err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
	}
	return nil
}

// encodeResource is the reverse of decodeResource.
func encodeResource(id string, settings Settings, status any) ([]byte, error) {
	members := map[string]any{"id": id, "status": status}
	for name, value := range settings {
		members[name] = value
	}
	return json.Marshal(members)
}

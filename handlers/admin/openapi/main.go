// Command openapi writes the OpenAPI document of the admin API to standard output, for
// make openapi.
package main

import (
	"log"
	"os"

	"github.com/latchkey/latchkey/handlers/admin"
)

func main() {
	if err := admin.OpenAPI(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

package testserver

// InvalidGrant is the error code of every rejected refresh.
const InvalidGrant = "invalid_grant"

// FormType is the media type of every request with a body.
const FormType = "application/x-www-form-urlencoded"

// ContentType sets the Content-Type header.
func ContentType(value string) Option { return Header("Content-Type", value) }

// Authorization sets the Authorization header.
func Authorization(value string) Option { return Header("Authorization", value) }

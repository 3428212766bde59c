package exit

import (
	"fmt"
	"strconv"
)

// Flagf is the usage error of a flag with a value that it cannot have: "--x is V; it must …". The format says what comes
// after "must". A value that is a text is shown in quotes.
func Flagf(flag string, value any, format string, args ...any) *Error {
	if text, ok := value.(string); ok {
		value = strconv.Quote(text)
	}
	return Usagef("--%s is %v; it must %s", flag, value, fmt.Sprintf(format, args...))
}

// Exclusive is the usage error of two flags that were given together.
func Exclusive(flag, other string) *Error {
	return Usagef("--%s and --%s exclude each other", flag, other)
}

// Required is the usage error of a flag that was not given.
func Required(flag string) *Error { return Usagef("--%s is required", flag) }

package router

import (
	"net/url"
	"testing"
)

// A pod's address comes without brackets, and the URL of an exported Deployment is $(POD_IP) and a port.
func TestHostOfTheAdminURL(t *testing.T) {
	for given, want := range map[string]string{
		"":                              "",
		"http://10.0.0.7:6444":          "http://10.0.0.7:6444",
		"http://router-0.example:6444":  "http://router-0.example:6444",
		"https://router.example/admin":  "https://router.example/admin",
		"http://fd00::7:6444":           "http://[fd00::7]:6444",
		"http://fd00:0:0:1:2:3:4:5:644": "http://[fd00:0:0:1:2:3:4:5]:644",
		"http://::1:6444/admin":         "http://[::1]:6444/admin",
		"http://[fd00::7]:6444":         "http://[fd00::7]:6444",
		"http://[fd00::7]":              "http://[fd00::7]",
	} {
		got := validHost(given)
		if got != want {
			t.Errorf("%s became %s, want %s", given, got, want)
		}
		if _, err := url.Parse(got); err != nil {
			t.Errorf("%s is no URL: %v", got, err)
		}
	}
}

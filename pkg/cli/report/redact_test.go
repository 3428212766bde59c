package report

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each line has a secret called hunter2 in some disguise, and something that helps and must stay.
func TestSecretsAreTakenOut(t *testing.T) {
	pem := "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----"
	encoded := base64.StdEncoding.EncodeToString([]byte(pem))
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.aHVudGVyMg"
	for name, test := range map[string]struct{ text, secret, stays string }{
		"PEM":                  {"before\n" + pem + "\nafter", "hunter2", "after"},
		"PEM, cut off":         {"kept\n" + pem[:45], "hunter2", "kept"},
		"PEM in JSON":          {`{"msg":"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----","pid":7}`, "hunter2", `"pid":7`},
		"PEM in base64":        {"ca: " + encoded + "\nname: it", encoded[20:], "name: it"},
		"JWT":                  {"user " + jwt + " refused", "aHVudGVyMg", "refused"},
		"JWT, cut off":         {"user " + jwt[:30] + " refused", jwt[5:30], "refused"},
		"header":               {"Authorization: Bearer hunter2-hunter2\nAccept: text", "hunter2", "Accept: text"},
		"header in JSON":       {`{"headers":{"Authorization":["Basic aHVudGVyMg=="]},"code":401}`, "aHVudGVyMg", `"code":401`},
		"cookie":               {"Cookie: session=hunter2; a=b\nHost: x", "hunter2", "Host: x"},
		"YAML password":        {"username: joe\npassword: hunter2\nserver: https://here", "hunter2", "server: https://here"},
		"YAML quoted":          {`password: "hunter2 and \"more\" words"` + "\nafter: x", "more", "after: x"},
		"JSON token":           {`{"token":"hunter2","name":"a"}`, "hunter2", `"name":"a"`},
		"quoted JSON":          {`{"msg":"body {\"token\":\"hunter2\",\"n\":1}"}`, "hunter2", `\"n\":1`},
		"flag":                 {"run --api-token=hunter2 --listen=:1", "hunter2", "--listen=:1"},
		"flag, next word":      {"run --api-token hunter2 --listen :1", "hunter2", "--listen :1"},
		"flag, quoted word":    {`run --password "of hunter2" --listen :1`, "hunter2", "--listen :1"},
		"flag, list in JSON":   {`{"args":["run","--token","hunter2","--listen=:1"]}`, "hunter2", "--listen=:1"},
		"flag, quoted list":    {`{"msg":"[\"--token\",\"hunter2\",\"-v=2\"]"}`, "hunter2", "-v=2"},
		"flag, list in YAML":   {"args:\n- --token\n- hunter2\n- --listen=:1", "hunter2", "--listen=:1"},
		"secret":               {"secret: hunter2\nissuer: here", "hunter2", "issuer: here"},
		"secret in JSON":       {`{"secret":"hunter2","name":"a"}`, "hunter2", `"name":"a"`},
		"variable":             {"AWS_SECRET_ACCESS_KEY=hunter2 HOME=/root DB_PASSWORD=hunter2", "hunter2", "HOME=/root"},
		"client-key-data":      {"client-key-data: aHVudGVyMg==\nname: u", "aHVudGVyMg", "name: u"},
		"URL":                  {"get https://joe:hunter2@host/path failed", "hunter2", "host/path failed"},
		"bootstrap token":      {"joined with abcdef.0123456789abcdef today", "0123456789abcdef", "today"},
		"cloud key":            {"key AKIAIOSFODNN7EXAMPLE used", "IOSFODNN7", "used"},
		"forge token":          {"push ghp_0123456789abcdefghijABCDEFGHIJ failed", "0123456789abcdefghij", "failed"},
		"token, camel":         {`{"sessionToken":"hunter2","name":"a"}`, "hunter2", `"name":"a"`},
		"list":                 {`{"password":["a","hunter2"],"name":"a"}`, "hunter2", `"name":"a"`},
		"quotes, quoted JSON":  {`{"msg":"body {\"token\":\"a\\\"hunter2\",\"n\":1}"}`, "hunter2", `\"n\":1`},
		"block":                {"users:\n- password: |-\n    one\n\n    hunter2\n  name: joe", "hunter2", "name: joe"},
		"block, folded":        {"token: >\n  hunter2\nname: joe", "hunter2", "name: joe"},
		"pair in JSON":         {`{"env":[{"name":"DB_PASSWORD","value":"hunter2"},{"name":"TZ","value":"UTC"}]}`, "hunter2", `"TZ","value":"UTC"`},
		"pair in YAML":         {"env:\n- name: API_TOKEN\n  value: hunter2\n- name: TZ\n  value: UTC", "hunter2", "value: UTC"},
		"kubeconfig in base64": {"data: " + base64.StdEncoding.EncodeToString([]byte("apiVersion: v1\nkind: Config\n")) + "\nname: it", "a2luZDogQ29uZmln", "name: it"},
		"data of a Secret":     {`{"data":{"any":"aHVudGVyMg=="},"kind":"Secret"}`, "aHVudGVyMg", `"kind":"Secret"`},
		"words":                {"password: correct hunter2 battery\nafter: x", "hunter2", "after: x"},
		"words with a comma":   {"  password: it, and hunter2\n  after: x", "hunter2", "after: x"},
		"words with a quote":   {"- token: it's hunter2\n- after: x", "hunter2", "after: x"},
		"words in braces":      {"{password: correct hunter2, name: a}", "hunter2", "name: a"},
		"flag with a comma":    {"run --db-password=a,hunter2 --listen=:1", "hunter2", "--listen=:1"},
		"variable in braces":   {"PASSWORD={a}hunter2 HOME=/root", "hunter2", "HOME=/root"},
		"secretKey":            {"secretKey: hunter2\nname: it", "hunter2", "name: it"},
		"access_key":           {"access_key=hunter2 region=here", "hunter2", "region=here"},
		"credentials":          {`{"credentials":"hunter2","name":"a"}`, "hunter2", `"name":"a"`},
		"client secret, camel": {`clientSecret: hunter2` + "\nissuer: https://i", "hunter2", "issuer: https://i"},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(newRedactor().clean([]byte(test.text)))
			if strings.Contains(got, test.secret) {
				t.Errorf("the secret is still there: %s", got)
			}
			if !strings.Contains(got, test.stays) || !strings.Contains(got, redacted) {
				t.Errorf("%q is gone, or nothing stands for the secret: %s", test.stays, got)
			}
		})
	}
}

// What helps to find a fault is not taken for a secret.
// TestASecretThatIsCutIsTakenOut where the end of a long log begins in the middle of it.
func TestASecretThatIsCutIsTakenOut(t *testing.T) {
	for name, c := range map[string]struct{ before, cut, stays string }{
		"a line":             {"password: hun", "ter2 and more\n", "level=info msg=first\n"},
		"PEM":                {"-----BEGIN EC PRIVATE KEY-----\nMHc", "CAQEE\nhunter2\n-----END EC PRIVATE KEY-----\n", "level=info msg=first\n"},
		"PEM within a line":  {`{"msg":"-----BEGIN EC PRIVATE KEY-----\n`, "hunter2\nhunter2\n-----END EC PRIVATE KEY-----\\n\"}\n", "level=info msg=first\n"},
		"PEM that goes on":   {"-----BEGIN EC PRIVATE KEY-----\nMHc", "CAQEE\nhunter2\n", "level=info msg=first\n"},
		"a block of YAML":    {"password: |\n  hun", "ter2\n  hunter2\n\n\thunter2\n", "level=info msg=first\n"},
		"another one begins": {"level=in", "fo msg=zeroth\n", "level=info msg=first\n-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n"},
		"nothing else":       {"password: hunter2", "hunter2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			rest := c.cut + c.stays + strings.Repeat("level=info msg=ordinary\n", logBytes/24+1)
			if c.stays == "" {
				rest = strings.Repeat("hunter2", logBytes/7+1)
			}
			rest = rest[:logBytes]
			if err := os.WriteFile(path, []byte(c.before+rest), 0o600); err != nil {
				t.Fatal(err)
			}
			data, err := tail(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(data), c.stays) {
				t.Errorf("it begins with %.60q; want %q", data, c.stays)
			}
			if clean := string(newRedactor().clean(data)); strings.Contains(clean, "hunter2") {
				t.Errorf("a secret is left: %.200s", clean)
			}
		})
	}
}

func TestOrdinaryTextStays(t *testing.T) {
	for _, text := range []string{
		`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"cell answers again","cell":"cell-3","after":"2.1s"}`,
		"kubeconfigSecretRef:\n  name: cell-1-kubeconfig",
		"resourceVersion: \"123456\"\nuid: 0b8ac7a6-2f5d-4c0e-9a53-0a5d0e4f8f11",
		"kubecell_router_requests_total{cell=\"cell-1\",code=\"200\"} 17",
		"continue token refused with 410",
		"volumes:\n- name: tls\n  secret:\n    secretName: kubecell-router-tls",
		"secret/kubecell-router-tls created",
		"env:\n- name: TZ\n  value: UTC",
		"description: |\n  two\n  lines",
		"the token is that of a pod, --token-ttl 5m",
		"credentials:\n  kind: file",
	} {
		if got := string(newRedactor().clean([]byte(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

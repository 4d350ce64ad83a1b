package main

import (
	"fmt"
	"strings"

	"swapyard/bench/wire"
)

// The headers that the openai package sends, 18 with an organisation set, and as it writes them.
const headers = `Host: %s
Accept-Encoding: gzip, deflate
Connection: %s
authorization: Bearer %s
accept: application/json
content-type: application/json
user-agent: OpenAI/Python 2.30.0
x-stainless-lang: python
x-stainless-package-version: 2.30.0
x-stainless-os: Linux
x-stainless-arch: x64
x-stainless-runtime: CPython
x-stainless-runtime-version: 3.13.1
x-stainless-async: async:trio
openai-organization: org-benchmark
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
Content-Length: %d

`

// makeRequest gives a whole request, and where its id goes.
func makeRequest(found options) ([]byte, int) {
	connection := "keep-alive"
	if found.mode == "close" {
		connection = "close"
	}
	before := fmt.Sprintf(`{%s%s","model":%q,"stream":%t,"metadata":{%s%s"},"temperature":0.7,"max_tokens":256,`+
		`"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"`,
		wire.UserMark, strings.Repeat("0", wire.IDLength), found.model, found.plan.Stream, wire.PlanMark, found.plan)
	after := `"}]}`
	filler := max(found.body-len(before)-len(after), 0)
	body := before + strings.Repeat("tell me more ", filler/13+1)[:filler] + after
	head := fmt.Sprintf(headers, found.addr, connection, found.key, len(body))
	whole := "POST /v1/chat/completions HTTP/1.1\r\n" + strings.ReplaceAll(head, "\n", "\r\n") + body
	return []byte(whole), len(whole) - len(body) + 1 + len(wire.UserMark)
}

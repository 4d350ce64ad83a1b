package main

import (
	"bytes"
	"strconv"
)

// request is what matters of one: `last` if the connection ends with it, `bad` if it has no length we read.
type request struct {
	get, last, bad bool
	body           []byte
}

var endOfHead = []byte("\r\n\r\n")

// parse finds a complete request at the beginning of data; size 0 if it is not all there.
func parse(data []byte) (found request, size int) {
	end := bytes.Index(data, endOfHead)
	if end < 0 {
		return found, 0
	}
	length := 0
	first, rest, _ := bytes.Cut(data[:end], []byte("\r\n"))
	found.get = bytes.HasPrefix(first, []byte("GET "))
	found.last = bytes.HasSuffix(first, []byte("1.0"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		switch {
		case named(line, "content-length"):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[len("content-length:"):])))
		case named(line, "transfer-encoding"):
			found.bad, found.last = true, true
		case named(line, "connection"):
			found.last = bytes.Contains(bytes.ToLower(line), []byte("close"))
		}
	}
	size = end + len(endOfHead) + length
	if len(data) < size {
		return found, 0
	}
	found.body = data[size-length : size]
	return found, size
}

func named(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// Command proxy is the bare Go reverse proxy that the benchmark compares with: the standard library's, and nothing
// else. With -cert and -key it speaks TLS.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	upstream := flag.String("upstream", "", "where requests go, as http://HOST:PORT")
	cert := flag.String("cert", "", "certificate file")
	key := flag.String("key", "", "its key file")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 1024}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %d\n", listener.Addr().(*net.TCPAddr).Port)
	if *cert != "" {
		log.Fatal(http.ServeTLS(listener, proxy, *cert, *key))
	}
	log.Fatal(http.Serve(listener, proxy))
}

// Go's net, and crypto/tls with a second argument, the file of a certificate and its key:
// TCP and UDP on 127.0.0.1, a goroutine for each connection.
package main

import (
	"crypto/tls"
	"log"
	"net"
	"os"
)

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4096)
	for {
		got, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:got]); err != nil {
			return
		}
		// A peer that sends more at once is read in larger pieces from then on.
		if got == len(buffer) && got < 1<<16 {
			buffer = make([]byte, 1<<16)
		}
	}
}

func echoDatagrams(socket *net.UDPConn) {
	buffer := make([]byte, 1<<16)
	for {
		got, from, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			log.Fatal(err)
		}
		socket.WriteToUDPAddrPort(buffer[:got], from)
	}
}

func listen(at string) (net.Listener, error) {
	if len(os.Args) < 3 {
		return net.Listen("tcp", at)
	}
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[2])
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", at, &tls.Config{Certificates: []tls.Certificate{pair}})
}

func main() {
	at := "127.0.0.1:" + os.Args[1]
	address, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		log.Fatal(err)
	}
	datagrams, err := net.ListenUDP("udp", address)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := listen(at)
	if err != nil {
		log.Fatal(err)
	}
	go echoDatagrams(datagrams)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(connection)
	}
}

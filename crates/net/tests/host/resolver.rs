//! The resolver's place: 127.0.0.11:53 leads to its sockets, and nothing else does.

use crate::world::{inside, within};
use net::{Netns, resolver};
use rustix::fd::AsFd;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

#[test]
fn port_53_of_one_address_is_redirected() {
    inside("resolver::port_53_of_one_address_is_redirected", || {
        let netns = Netns::create().unwrap();
        // Done twice: the second sockets are the ones that are asked.
        drop(resolver::listen(netns.as_fd()).unwrap());
        let listening = resolver::listen(netns.as_fd()).unwrap();
        let (udp, tcp) = (UdpSocket::from(listening.udp), TcpListener::from(listening.tcp));
        within(netns.as_fd(), move || {
            let port = udp.local_addr().unwrap().port();
            assert_ne!(port, 53);
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.connect((resolver::ADDRESS, 53)).unwrap();
            client.send(b"question").unwrap();
            let mut buffer = [0; 64];
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"question");
            udp.send_to(b"answer", from).unwrap();
            // The client is connected: an answer from another port would not reach it.
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"answer");

            let mut stream = TcpStream::connect((resolver::ADDRESS, 53)).unwrap();
            tcp.accept().unwrap().0.write_all(b"stream").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "stream");

            // Port 53 is the container's on every address, and only that one address is redirected.
            let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
            own.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
            let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            other.send_to(b"own", (Ipv4Addr::LOCALHOST, 53)).unwrap();
            let length = own.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"own");
        });
    });
}

//! A private network, through whichever program is installed.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener};

use oxbox_builder::exec::network::Connector;
use oxbox_builder::exec::{HostAddress, Network};

use crate::room::{Room, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        (
            "a_private_network_reaches_the_host_by_its_address_and_not_its_loopback",
            reaches_the_host_and_not_its_loopback,
        ),
        ("names_are_asked_of_the_private_network", names_are_asked_of_the_private_network),
    ]
}

fn is_there() -> bool {
    let found = Connector::find();
    if found.is_err() {
        eprintln!("SKIPPED: neither pasta nor slirp4netns is installed");
    }
    found.is_ok()
}

/// Answers every request with `hello`.
fn serve(address: IpAddr) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"hello\n");
        }
    });
    port
}

fn reaches_the_host_and_not_its_loopback() {
    if !is_there() {
        return;
    }
    let Some(host) = HostAddress::Gateway.of(Network::Private) else {
        eprintln!("SKIPPED: this host has no address of its own");
        return;
    };
    let (own, loopback) = (serve(host), serve("127.0.0.1".parse().unwrap()));
    let room = Room::busybox();
    // What stays open for a second is not closed by halves, which pasta of 2023 may forget to pass on.
    let script = format!(
        "get() {{ (echo; sleep 1) | timeout 20 nc -w 2 $1 $2 2>/dev/null || echo refused; }}; get host {own}; \
         get 127.0.0.1 {loopback}; get 10.0.2.2 {loopback}; ls /sys/class/net; ip route | grep -c default"
    );
    let mut process = room.process(&["/bin/sh", "-c", &script]);
    process.network = Network::Private;
    process.hosts = vec![("host".to_owned(), host)];
    assert_eq!(ran(&process).unwrap().text(), "hello\nrefused\nrefused\nlo\ntap0\n1");
}

fn names_are_asked_of_the_private_network() {
    if !is_there() {
        return;
    }
    let room = Room::busybox();
    let mut process = room.process(&["grep", "nameserver", "/etc/resolv.conf"]);
    process.network = Network::Private;
    assert_eq!(ran(&process).unwrap().text(), "nameserver 10.0.2.3");
}

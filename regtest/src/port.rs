//! Ports of loopback that belong to one test.
//!
//! A port that was found by binding and releasing it can be taken by another program before its user binds it, and
//! again each time that the user is restarted. A [`Port`] stays bound without listening, with `SO_REUSEADDR`. Linux
//! then gives it to nobody who asks for any free port, neither to listen nor to connect, and refuses connections to it;
//! a server that sets `SO_REUSEADDR` itself, as jppd, `bitcoind`, libzmq and `TcpListener::bind` do, can listen on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that nobody else gets while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _bound: TcpSocket,
}

impl Port {
    /// A port that is free, and kept.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve() -> io::Result<Self> {
        Self::at(0)
    }

    /// The port with this number.
    ///
    /// # Errors
    /// When it is taken.
    pub fn at(number: u16) -> io::Result<Self> {
        let bound = TcpSocket::new_v4()?;
        bound.set_reuseaddr(true)?;
        bound.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))?;
        Ok(Self { number: bound.local_addr()?.port(), _bound: bound })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address, for a server to bind and a client to connect to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_connections_and_can_be_listened_on_again_and_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(port.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            // The server closes first: its side of the connection lingers.
            let client = TcpStream::connect(port.address()).unwrap();
            drop(listener.accept().unwrap());
            drop((listener, client));
        }
        let context = zmq::Context::new();
        let publisher = context.socket(zmq::PUB).unwrap();
        publisher.bind(&format!("tcp://{}", port.address())).unwrap();
        assert!(TcpStream::connect(port.address()).is_ok());
    }

    /// With 300 ports of some 28,000 reserved, the system would hit one in each of these loops if it gave them away.
    #[test]
    fn nobody_else_gets_a_reserved_port() {
        let ports: Vec<Port> = (0..300).map(|_| Port::reserve().unwrap()).collect();
        let reserved = |at: SocketAddr| ports.iter().any(|port| port.address() == at);
        for _ in 0..2_000 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            assert!(!reserved(listener.local_addr().unwrap()));
        }
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = server.local_addr().unwrap();
        for _ in 0..1_000 {
            let client = TcpStream::connect(at).unwrap();
            assert!(!reserved(client.local_addr().unwrap()));
            drop(server.accept().unwrap());
        }
    }
}

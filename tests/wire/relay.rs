//! A relay between the proxy and its server. It can change what the server says, answer in its place, cut a
//! connection, and hold a cancel back; and it keeps what the proxy sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::support::wire::{Message, frame};

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;

/// What becomes of a server's message.
pub enum Deed {
    Pass,
    /// These bytes come instead.
    Instead(Vec<u8>),
    /// These bytes come, and then the end of the connection.
    Cut(Vec<u8>),
    /// These bytes come, and after a while those.
    Later(Vec<u8>, Duration, Vec<u8>),
}

type Alter = dyn FnMut(&Message) -> Deed + Send;
type Spoil = dyn FnMut(&mut Message) + Send;
type Script = dyn Fn(TcpStream) + Send + Sync;

#[derive(Default)]
struct Rules {
    alter: Option<Arc<Mutex<Alter>>>,
    spoil: Option<Arc<Mutex<Spoil>>>,
    script: Option<Arc<Script>>,
    cancel_delay: Duration,
    sent: Vec<Message>,
    cancels: usize,
    open: Vec<TcpStream>,
}

/// A listening relay. Its threads end with its connections.
pub struct Relay {
    pub port: u16,
    rules: Arc<Mutex<Rules>>,
}

impl Relay {
    /// In front of the server at `server`.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let rules = Arc::<Mutex<Rules>>::default();
        let of_listener = rules.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let rules = of_listener.clone();
                std::thread::spawn(move || {
                    let script = with(&rules, |rules| rules.script.clone());
                    match script {
                        Some(script) => script(client),
                        // A connection that ends is no failure of the relay.
                        None => drop(relay(client, server, &rules)),
                    }
                });
            }
        });
        Self { port, rules }
    }

    /// Every message of the server on its way to the proxy is shown to this.
    pub fn alter(&self, alter: impl FnMut(&Message) -> Deed + Send + 'static) {
        with(&self.rules, |rules| rules.alter = Some(Arc::new(Mutex::new(alter))));
    }

    /// Every message of the proxy on its way to the server may be changed by this.
    pub fn spoil(&self, spoil: impl FnMut(&mut Message) + Send + 'static) {
        with(&self.rules, |rules| rules.spoil = Some(Arc::new(Mutex::new(spoil))));
    }

    /// New connections are answered by this, and not by the server.
    pub fn answer(&self, script: impl Fn(TcpStream) + Send + Sync + 'static) {
        with(&self.rules, |rules| rules.script = Some(Arc::new(script)));
    }

    /// Back to passing everything on.
    pub fn honest(&self) {
        with(&self.rules, |rules| {
            rules.alter = None;
            rules.spoil = None;
            rules.script = None;
        });
    }

    /// Cancels reach the server so much later.
    pub fn delay_cancels(&self, time: Duration) {
        with(&self.rules, |rules| rules.cancel_delay = time);
    }

    /// Ends every connection that is open.
    pub fn cut_all(&self) {
        for stream in with(&self.rules, |rules| std::mem::take(&mut rules.open)) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What the proxy has sent since the last call, startup packets left out.
    pub fn take_sent(&self) -> Vec<Message> {
        with(&self.rules, |rules| std::mem::take(&mut rules.sent))
    }

    /// Cancels that have reached the server.
    pub fn cancels(&self) -> usize {
        with(&self.rules, |rules| rules.cancels)
    }
}

fn with<R>(rules: &Mutex<Rules>, work: impl FnOnce(&mut Rules) -> R) -> R {
    work(&mut rules.lock().unwrap_or_else(PoisonError::into_inner))
}

fn relay(mut client: TcpStream, port: u16, rules: &Arc<Mutex<Rules>>) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    // Whoever cuts all connections from now on cuts this one too, however little of it has been relayed.
    with(rules, |rules| -> io::Result<()> {
        if rules.script.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        rules.open.extend([client.try_clone()?, server.try_clone()?]);
        Ok(())
    })?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    loop {
        let (code, packet) = read_packet(&mut client)?;
        if code == CANCEL {
            std::thread::sleep(with(rules, |rules| rules.cancel_delay));
        }
        server.write_all(&packet)?;
        match code {
            // The server of the tests has no TLS.
            SSL => {
                let mut answer = [0; 1];
                server.read_exact(&mut answer)?;
                client.write_all(&answer)?;
            }
            CANCEL => {
                let mut rest = [0; 1];
                let _ = server.read(&mut rest);
                with(rules, |rules| rules.cancels += 1);
                return Ok(());
            }
            _ => break,
        }
    }
    let ends = (client.try_clone()?, server.try_clone()?);
    let of_sender = rules.clone();
    std::thread::spawn(move || {
        let (mut client, mut server) = ends;
        while let Ok(mut message) = read_message(&mut client) {
            let spoil = with(&of_sender, |rules| {
                rules.sent.push(message.clone());
                rules.spoil.clone()
            });
            if let Some(spoil) = spoil {
                spoil.lock().unwrap_or_else(PoisonError::into_inner)(&mut message);
            }
            if server.write_all(&bytes(&message)).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    });
    let end = from_server(&mut client, &mut server, rules);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    end
}

fn from_server(client: &mut TcpStream, server: &mut TcpStream, rules: &Arc<Mutex<Rules>>) -> io::Result<()> {
    loop {
        let message = read_message(server)?;
        let deed = match with(rules, |rules| rules.alter.clone()) {
            Some(alter) => alter.lock().unwrap_or_else(PoisonError::into_inner)(&message),
            None => Deed::Pass,
        };
        match deed {
            Deed::Pass => client.write_all(&bytes(&message))?,
            Deed::Instead(bytes) => client.write_all(&bytes)?,
            Deed::Cut(bytes) => return client.write_all(&bytes),
            Deed::Later(bytes, pause, late) => {
                client.write_all(&bytes)?;
                std::thread::sleep(pause);
                client.write_all(&late)?;
            }
        }
    }
}

/// A packet without a type byte, with the code in it.
pub fn read_packet(stream: &mut TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let [a, b, c, d, code @ ..] = head;
    let mut packet = head.to_vec();
    packet.resize(u32::from_be_bytes([a, b, c, d]) as usize, 0);
    stream.read_exact(&mut packet[8..])?;
    Ok((u32::from_be_bytes(code), packet))
}

pub fn read_message(stream: &mut TcpStream) -> io::Result<Message> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [tag, length @ ..] = head;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
    stream.read_exact(&mut body)?;
    Ok(Message { tag, body })
}

/// The message as it was.
pub fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, message.tag, &message.body);
    bytes
}

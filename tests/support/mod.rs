//! What the judges share: a server with the corpus schema, proxies in front of it, and a client that sees
//! every byte.

pub mod fixture;
pub mod wire;

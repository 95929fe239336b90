//! Reports the state of the server to systemd, by the protocol of sd_notify(3).
//!
//! systemd sets `NOTIFY_SOCKET` for services of `Type=notify`. Without it nothing is sent.

/// Reports that the server listens.
pub(super) fn ready(status: &str) {
    send(&format!("READY=1\nSTATUS={status}"));
}

/// Reports that the server finishes its responses and then ends.
pub(super) fn stopping() {
    send("STOPPING=1\nSTATUS=finishing responses");
}

/// Sends a state. A failure is logged, because the server works without its manager.
#[cfg(target_os = "linux")]
fn send(state: &str) {
    use std::os::unix::net::UnixDatagram;
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = address(&name).and_then(|address| {
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "the state was not reported to NOTIFY_SOCKET");
    }
}

#[cfg(not(target_os = "linux"))]
fn send(_state: &str) {}

/// Returns the address of a socket: a path, or with `@` a name in the abstract namespace (unix(7)).
#[cfg(target_os = "linux")]
fn address(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::SocketAddr;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let path = address("/run/systemd/notify".as_ref()).unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/systemd/notify")));
        let name = address("@notify/1".as_ref()).unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"notify/1"[..]));
    }
}

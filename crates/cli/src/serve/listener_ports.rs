//! The ports that listeners of Envoys ask for. Each one makes the server encode the filter's names once more, for each view of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Ports that all streams ask for. A fleet redirects traffic to one port, or to one for each kind of sidecar.
const PORTS: usize = 16;
/// Ports that the streams of one identity ask for.
const PORTS_OF_IDENTITY: usize = 4;

/// The number of streams by port.
type Ports = BTreeMap<u16, usize>;

/// The ports in use, over all streams and by identity.
#[derive(Debug, Default)]
pub(super) struct ListenerPorts {
    all: Ports,
    of_identity: HashMap<Arc<str>, Ports>,
}

impl ListenerPorts {
    /// Counts a stream that asks for this port.
    ///
    /// # Errors
    /// If it is one port too many, with the reason.
    pub(super) fn open(&mut self, port: u16, identity: Option<&Arc<str>>) -> Result<(), String> {
        let is_too_many = |ports: Option<&Ports>, limit| {
            ports.is_some_and(|ports| ports.len() >= limit && !ports.contains_key(&port))
        };
        let whose = match identity {
            Some(own) if is_too_many(self.of_identity.get(own), PORTS_OF_IDENTITY) => {
                Some(("sidecars of your identity", PORTS_OF_IDENTITY))
            }
            _ => is_too_many(Some(&self.all), PORTS).then_some(("sidecars", PORTS)),
        };
        if let Some((whose, limit)) = whose {
            return Err(format!(
                "metadata.BYNAME_LISTENER_PORT: {port} is one port too many: {whose} of this server may have {limit} different ones; redirect to \
                 the same port in all pods"
            ));
        }
        *self.all.entry(port).or_default() += 1;
        if let Some(own) = identity {
            *self.of_identity.entry(Arc::clone(own)).or_default().entry(port).or_default() += 1;
        }
        Ok(())
    }

    /// Counts a stream that asked for this port as closed.
    pub(super) fn close(&mut self, port: u16, identity: Option<&Arc<str>>) {
        release(&mut self.all, port);
        let Some(own) = identity else { return };
        if let Some(ports) = self.of_identity.get_mut(own) {
            release(ports, port);
            if ports.is_empty() {
                self.of_identity.remove(own);
            }
        }
    }
}

fn release(ports: &mut Ports, port: u16) {
    if let Some(streams) = ports.get_mut(&port) {
        *streams -= 1;
        if *streams == 0 {
            ports.remove(&port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_few_ports_and_all_together_have_some_more() {
        let mut ports = ListenerPorts::default();
        let [evil, shop]: [Arc<str>; 2] = ["evil".into(), "shop".into()];
        for port in 1..=4 {
            assert_eq!(ports.open(port, Some(&evil)), Ok(()));
        }
        let refused = ports.open(5, Some(&evil)).unwrap_err();
        assert!(refused.contains("sidecars of your identity of this server may have 4"), "{refused}");
        assert_eq!((ports.open(4, Some(&evil)), ports.open(5, Some(&shop))), (Ok(()), Ok(())));
        for port in 6..=16 {
            assert_eq!(ports.open(port, None), Ok(()));
        }
        let refused = ports.open(17, None).unwrap_err();
        assert!(refused.contains("sidecars of this server may have 16"), "{refused}");
        assert_eq!(ports.open(1, Some(&shop)), Ok(()), "a port that another one has too");

        ports.close(4, Some(&evil));
        assert!(ports.open(5, Some(&evil)).is_err(), "another stream has it");
        ports.close(4, Some(&evil));
        assert_eq!(ports.open(17, Some(&evil)), Ok(()));
        for (port, identity) in (1..=3).chain([17]).map(|port| (port, &evil)).chain([(5, &shop), (1, &shop)]) {
            ports.close(port, Some(identity));
        }
        (6..=16).for_each(|port| ports.close(port, None));
        assert!(ports.all.is_empty() && ports.of_identity.is_empty(), "{ports:?}");
    }
}

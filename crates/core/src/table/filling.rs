//! A table that a server fills when requests need it: what is asked of it, and what changes in it beside its Services.

use alloc::boxed::Box;
use core::{cell::Cell, net::IpAddr};

use super::{
    index::Table,
    missing::Missing,
    on_demand::{Answer, Key, KeyState, OnDemand},
};
use crate::names::is_special;

impl Table {
    /// An empty table that is filled when requests need it.
    pub(crate) fn fill_on_demand(&mut self) {
        self.on_demand = Some(Box::default());
    }

    /// What is known of the keys; `None` in a table that has all there is.
    pub(crate) fn on_demand(&mut self) -> Option<&mut OnDemand> {
        self.on_demand.as_deref_mut()
    }

    /// What the address is; `None` in a table that has all there is, and for addresses that nothing in a cluster has.
    pub(crate) fn address_on_demand(&self, address: IpAddr) -> Option<Result<&Answer, Missing>> {
        let on_demand = self.on_demand.as_ref().filter(|_| !is_special(address))?;
        Some(on_demand.address(address))
    }

    /// Takes a cluster IP from the Service that has it.
    #[inline(never)]
    pub(crate) fn release_cluster_ip(&mut self, address: IpAddr) {
        let Some(service) = self.find_by_cluster_ip(address) else { return };
        let (name, is_used) = (service.spec.name.clone(), self.is_used(service).is_some_and(Cell::get));
        // Taken out rather than cloned: the code that clones a Service is large, and nothing else needs it.
        let Some(mut spec) = self.take(name.namespace(), name.name()) else { return };
        spec.remove_cluster_ip(address);
        let is_put = self.put(spec);
        debug_assert!(is_put.is_ok(), "a Service that is in the table can lose an address");
        if is_used && let Some(service) = self.get(name.namespace(), name.name()) {
            self.mark(service);
        }
    }

    /// Counts for each key the sweeps since a request last used it, and calls `each` with the keys.
    pub(crate) fn sweep(&mut self, mut each: impl FnMut(&KeyState)) {
        let Some(mut on_demand) = self.on_demand.take() else { return };
        for state in on_demand.keys.iter_mut() {
            let service = match &state.key {
                Key::Service(name) => self.get(name.namespace(), name.name()),
                Key::Address(_) => None,
            };
            let slot = service.and_then(|service| usize::try_from(service.slot).ok());
            let is_used = slot.and_then(|slot| on_demand.used.get(slot)).unwrap_or(&state.is_used).take();
            state.unused = if is_used { 0 } else { state.unused.saturating_add(1) };
            each(state);
        }
        self.on_demand = Some(on_demand);
    }
}

//! What the server answers, put into the table.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::{net::IpAddr, str::from_utf8};

use super::{
    keys::{Keys, key_within, needs_endpoints, service_key},
    messages::{Resource, ResourceType, Response},
};
use crate::{
    limits::{MAX_KEYS, MAX_QUOTED_CHARS, MAX_VERSION_BYTES},
    names::NamespacedName,
    table::{Answer, Key, KeyState, ServiceSpec, Table},
    text::quoted,
    wire::{self, FieldError, FieldErrors, FieldPathRef, read_json},
};

impl Keys {
    /// Takes a message. Returns why a part of it is refused, if one is: the first such part.
    #[inline(never)]
    pub(super) fn take(&mut self, response: &Response<'_>, preload: &[Box<str>], table: &mut Table) -> Option<String> {
        let mut refused = None;
        // A message says at most once what a namespace has: to look at all keys once more for each repetition would take long.
        let mut told = alloc::vec![false; preload.len()];
        let mut is_first = |name: &str| {
            let place = preload.iter().position(|namespace| **namespace == *name);
            place.and_then(|place| told.get_mut(place)).is_some_and(|told| !core::mem::replace(told, true))
        };
        // First what is gone: a cluster IP may have moved from one Service to another.
        for name in response.removed() {
            match key_of(response.resource_type, name) {
                Some(key) if self.accepts(&key, response.resource_type, table) => {
                    self.set_missing(&key, table);
                }
                None if response.resource_type != ResourceType::Namespaces => {}
                // An empty list is in order.
                None if name == "*" => drop(table.on_demand().map(|keys| keys.set_namespaces(core::iter::empty()))),
                None if is_first(name) => end_preload(name, table),
                _ => {}
            }
        }
        for resource in response.resources() {
            if let Err(reason) = self.take_resource(&resource, response.resource_type, &mut is_first, table) {
                refused.get_or_insert_with(|| format!("{}: {reason}", quoted(&resource.name, MAX_QUOTED_CHARS)));
            }
        }
        if self.has_contested {
            self.ask_for_contested(table);
        }
        refused
    }

    fn set_missing(&mut self, key: &Key, table: &mut Table) {
        if let Key::Service(name) = key {
            if answer(key, table) == Some(&Answer::Present) {
                table.remove(name.namespace(), name.name());
                weigh(key, 0, table);
            } else if table.get(name.namespace(), name.name()).is_some() {
                // What the configuration has comes first.
                self.forget(key, table);
                return;
            }
        }
        set_answer(key, Answer::Missing, "", table);
    }

    #[inline(never)]
    fn take_resource(
        &mut self,
        Resource { name, version, value }: &Resource<'_>,
        resource_type: ResourceType,
        is_first: &mut dyn FnMut(&str) -> bool,
        table: &mut Table,
    ) -> Result<(), String> {
        let text = match from_utf8(value) {
            Ok(_) if version.len() > MAX_VERSION_BYTES => Err("its version is too long".into()),
            Ok(text) => Ok(text),
            Err(_) => Err(String::from("it is not text")),
        };
        if resource_type == ResourceType::Namespaces {
            let text = text?;
            let names = text.split(' ').filter(|name| !name.is_empty());
            if *name != "*" {
                if is_first(name) {
                    end_preload(name, table);
                    names.for_each(|service| self.preload(name, service, table));
                }
            } else if table.on_demand().is_some_and(|keys| !keys.set_namespaces(names)) {
                return Err("the namespaces are not in order, or too many".into());
            }
            return Ok(());
        }
        let key = key_of(resource_type, name).ok_or("no resource of this type has such a name")?;
        if !self.accepts(&key, resource_type, table) {
            return Ok(());
        }
        let taken = text.and_then(|text| match &key {
            Key::Address(_) => take_address(text).map(Some),
            Key::Service(service) => self.take_service(&key, service, text, resource_type, table),
        });
        match &taken {
            Ok(Some(answer)) => set_answer(&key, answer.clone(), version, table),
            Ok(None) => {}
            // The last known good serves on.
            Err(_) if answer(&key, table) == Some(&Answer::Present) => {}
            Err(_) => set_answer(&key, Answer::Unreadable, "", table),
        }
        taken.map(|_| ())
    }

    /// Whether an answer of this type is taken. The server answers for what a key leads to without being asked: then the key counts as
    /// subscribed from now on.
    fn accepts(&mut self, key: &Key, resource_type: ResourceType, table: &mut Table) -> bool {
        let Some(keys) = table.on_demand() else { return false };
        match keys.get(key) {
            Some(state) if state.resource_type() == resource_type => true,
            Some(_) => {
                // One type of a Service is enough.
                self.change_type(key, resource_type, false);
                false
            }
            None if keys.len() >= MAX_KEYS => false,
            None => {
                keys.insert(KeyState::new(key.clone(), resource_type == ResourceType::Endpoints));
                true
            }
        }
    }

    /// Puts a Service into the table. `None` where it was not put there: it is asked for with its endpoints, or is in the
    /// configuration.
    #[inline(never)]
    fn take_service(
        &mut self,
        key: &Key,
        name: &NamespacedName,
        text: &str,
        resource_type: ResourceType,
        table: &mut Table,
    ) -> Result<Option<Answer>, String> {
        if answer(key, table) != Some(&Answer::Present) && table.get(name.namespace(), name.name()).is_some() {
            // What the configuration has comes first.
            self.forget(key, table);
            return Ok(None);
        }
        if !table.on_demand().is_some_and(|keys| keys.has_room(text.len())) {
            return Err(String::from("the Services that are known are too large"));
        }
        let spec = read_spec(name, text, resource_type == ResourceType::Endpoints).map_err(|errors| first(&errors))?;
        if resource_type == ResourceType::Service && needs_endpoints(&spec, table) {
            self.ask_with_endpoints(key, table);
            return Ok(None);
        }
        // The server has sent them one after the other, and this one is the newer.
        if let Some(state) = table.on_demand().and_then(|keys| keys.get_mut(key)) {
            state.lost_cluster_ips.clear();
        }
        for address in spec.cluster_ips() {
            let other = table.find_by_cluster_ip(*address).map(|other| Key::Service(other.spec.name.clone()));
            if let Some(other) = other.filter(|other| other != key)
                && answer(&other, table) == Some(&Answer::Present)
            {
                table.release_cluster_ip(*address);
                // The next stream brings the Service whole.
                set_answer(&other, Answer::Present, "", table);
                if let Some(other) = table.on_demand().and_then(|keys| keys.get_mut(&other)) {
                    other.lost_cluster_ips.push(*address);
                }
                self.has_contested = true;
            }
        }
        table.put(spec).map_err(|errors| first(&errors))?;
        weigh(key, text.len(), table);
        Ok(Some(Answer::Present))
    }

    /// Subscribes to a Service of a namespace.
    fn preload(&mut self, namespace: &str, name: &str, table: &mut Table) {
        let is_full = table.on_demand().is_none_or(|keys| keys.len() >= MAX_KEYS);
        if let (Some(key), false) = (key_within(namespace, name), is_full) {
            self.subscribe(&key, true, table);
        }
    }
}

/// No Service of a namespace is preloaded any more.
fn end_preload(namespace: &str, table: &mut Table) {
    for state in table.on_demand().into_iter().flat_map(|keys| keys.iter_mut()) {
        state.is_preloaded &= !matches!(&state.key, Key::Service(name) if name.namespace() == namespace);
    }
}

fn answer<'t>(key: &Key, table: &'t mut Table) -> Option<&'t Answer> {
    Some(&table.on_demand()?.get(key)?.answer)
}

fn set_answer(key: &Key, answer: Answer, version: &str, table: &mut Table) {
    if let Some(keys) = table.on_demand() {
        keys.set_answer(key, answer, version);
    }
}

fn weigh(key: &Key, bytes: usize, table: &mut Table) {
    if let Some(keys) = table.on_demand() {
        keys.weigh(key, bytes);
    }
}

fn key_of(resource_type: ResourceType, name: &str) -> Option<Key> {
    match resource_type {
        ResourceType::Service | ResourceType::Endpoints => service_key(name),
        ResourceType::Address => name.parse().ok().map(|address: IpAddr| Key::Address(address.to_canonical())),
        ResourceType::Namespaces => None,
    }
}

fn take_address(text: &str) -> Result<Answer, String> {
    match text {
        "" => Ok(Answer::Pod),
        service => {
            let name = NamespacedName::parse(service).ok_or("its value is not namespace/name")?;
            Ok(Answer::ClusterIp(name))
        }
    }
}

/// Reads a Service from the JSON that a table has for it.
#[inline(never)]
fn read_spec(name: &NamespacedName, text: &str, with_endpoints: bool) -> Result<ServiceSpec, FieldErrors> {
    let mut wire = wire::Service::default();
    let (table, key) = (FieldPathRef::root("table"), name.as_str());
    read_json(text.as_bytes(), &mut wire, Some(&table.field("services").key(key)), None)?;
    if with_endpoints && wire.service_type != wire::ServiceType::ExternalName {
        // The server knows the endpoints of every Service.
        wire.endpoints.get_or_insert_default();
    }
    ServiceSpec::compile(key, &wire)
}

/// The first of the errors: one says enough in a message.
fn first(errors: &FieldErrors) -> String {
    errors.listed().first().map(FieldError::to_string).unwrap_or_default()
}

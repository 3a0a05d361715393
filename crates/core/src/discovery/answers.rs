//! What the server answers, put into the table.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::{net::IpAddr, str::from_utf8};

use super::{
    keys::{Answer, Keys, key_within, needs_endpoints, service_key},
    messages::{Resource, ResourceType, Response},
};
use crate::{
    limits::{MAX_KEYS, MAX_NAMESPACES, MAX_QUOTED_CHARS, MAX_VERSION_BYTES},
    names::NamespacedName,
    table::{Address, Key, ServiceSpec, Table},
    text::quoted,
    wire::{self, FieldError, FieldErrors, FieldPathRef, read_json},
};

impl Keys {
    /// Takes a message. Returns why a part of it is refused, if one is: the first such part.
    #[inline(never)]
    pub(super) fn take(&mut self, response: &Response<'_>, preload: &[Box<str>], table: &mut Table) -> Option<String> {
        let mut refused = None;
        let mut refuse = |name: &str, reason: String| {
            refused.get_or_insert_with(|| format!("{}: {reason}", quoted(&name, MAX_QUOTED_CHARS)));
        };
        // First what is gone: a cluster IP may have moved from one Service to another.
        for name in response.removed() {
            match (response.resource_type, key_of(response.resource_type, name)) {
                (ResourceType::Namespaces, _) if name == "*" => table.set_namespaces("".split_whitespace()),
                (ResourceType::Namespaces, _) => self.end_preload(name),
                (_, Some(key)) => self.take_removed(&key, response.resource_type, table),
                (_, None) => refuse(name, "no resource of this type has such a name".into()),
            }
        }
        for resource in response.resources() {
            if let Err(reason) = self.take_resource(&resource, response.resource_type, preload, table) {
                refuse(resource.name, reason);
            }
        }
        if !self.contested.is_empty() {
            self.ask_for_contested(table);
        }
        refused
    }

    fn take_removed(&mut self, key: &Key, resource_type: ResourceType, table: &mut Table) {
        if !self.is_subscribed(key, resource_type, table) {
            return;
        }
        let is_known = self.answer(key) == Some(Answer::Present);
        if !is_known && has_own(key, table) {
            self.forget(key, table);
            return;
        }
        table.forget(key, is_known);
        table.set_missing(key);
        self.set_answer(key, Answer::Missing, "");
    }

    fn take_resource(
        &mut self,
        Resource { name, version, value }: &Resource<'_>,
        resource_type: ResourceType,
        preload: &[Box<str>],
        table: &mut Table,
    ) -> Result<(), String> {
        let text = match from_utf8(value) {
            Ok(_) if version.len() > MAX_VERSION_BYTES => {
                Err(format!("its version has more than {MAX_VERSION_BYTES} bytes"))
            }
            Ok(text) => Ok(text),
            Err(_) => Err("it is not text".into()),
        };
        if resource_type == ResourceType::Namespaces {
            let text = text?;
            match *name {
                "*" if text.split_whitespace().nth(MAX_NAMESPACES).is_some() => {
                    return Err(format!("it names more than {MAX_NAMESPACES} namespaces"));
                }
                "*" => table.set_namespaces(text.split_whitespace()),
                _ if preload.iter().any(|namespace| **namespace == **name) => self.preload(name, text, table),
                _ => {}
            }
            return Ok(());
        }
        let Some(key) = key_of(resource_type, name) else {
            return Err("no resource of this type has such a name".into());
        };
        if !self.is_subscribed(&key, resource_type, table) {
            return Ok(());
        }
        let taken = text.and_then(|text| match &key {
            Key::Address(address) => take_address(*address, text, table),
            Key::Service(service) => self.take_service(&key, service, text, resource_type, table),
        });
        match taken {
            Ok(true) => self.set_answer(&key, Answer::Present, version),
            Ok(false) => {}
            // The last known good serves on.
            Err(_) if self.answer(&key) == Some(Answer::Present) => {}
            Err(_) => {
                // There is something, so it is not missing.
                table.forget(&key, false);
                self.set_answer(&key, Answer::Unreadable, "");
            }
        }
        taken.map(|_| ())
    }

    /// Whether an answer of this type is to be taken. The server answers for what a key leads to without being asked.
    fn is_subscribed(&mut self, key: &Key, resource_type: ResourceType, table: &mut Table) -> bool {
        match self.all.get(key) {
            Some(state) if state.resource_type == resource_type => true,
            Some(_) => {
                // One type of a Service is enough.
                self.change(resource_type, key, false);
                false
            }
            None if self.len() >= MAX_KEYS => false,
            None => {
                self.insert(key.clone(), resource_type, table);
                true
            }
        }
    }

    /// Puts a Service into the table. Returns whether it was put there: else it is asked for with its endpoints, or is in the
    /// configuration.
    fn take_service(
        &mut self,
        key: &Key,
        name: &NamespacedName,
        text: &str,
        resource_type: ResourceType,
        table: &mut Table,
    ) -> Result<bool, String> {
        let is_known = self.answer(key) == Some(Answer::Present);
        if !is_known && has_own(key, table) {
            // What the configuration has comes first.
            self.forget(key, table);
            return Ok(false);
        }
        let spec = read_spec(name, text).map_err(|errors| first(&errors))?;
        if needs_endpoints(&spec, resource_type, table.policy()) {
            table.forget(key, is_known);
            self.ask_by(key, ResourceType::Endpoints);
            return Ok(false);
        }
        // The server has sent them one after the other, and this one is the newer.
        self.contested.retain(|(other, _)| other != key);
        for address in spec.cluster_ips() {
            let other = table.find_by_cluster_ip(*address).filter(|other| other.key() != name.as_str());
            if let Some(other) = other.and_then(|other| service_key(other.key()))
                && self.answer(&other) == Some(Answer::Present)
            {
                table.release_cluster_ip(*address);
                // The next stream brings the Service whole.
                self.set_answer(&other, Answer::Present, "");
                self.contested.push((other, *address));
            }
        }
        table.put(spec).map_err(|errors| first(&errors))?;
        table.forget_missing(name);
        Ok(true)
    }

    /// No Service of a namespace is preloaded any more.
    fn end_preload(&mut self, namespace: &str) {
        for (key, state) in &mut self.all {
            state.is_preloaded &= !matches!(key, Key::Service(name) if name.namespace() == namespace);
        }
    }

    /// Subscribes to the Services of a namespace.
    fn preload(&mut self, namespace: &str, names: &str, table: &mut Table) {
        self.end_preload(namespace);
        for key in names.split_whitespace().filter_map(|name| key_within(namespace, name)) {
            if self.len() >= MAX_KEYS {
                return;
            }
            self.subscribe(&key, table);
            if let Some(state) = self.all.get_mut(&key) {
                state.is_preloaded = true;
            }
        }
    }
}

/// Whether the table has a Service that no server told of, unless the key is known to be of one.
fn has_own(key: &Key, table: &Table) -> bool {
    matches!(key, Key::Service(name) if table.get(name.namespace(), name.name()).is_some())
}

fn key_of(resource_type: ResourceType, name: &str) -> Option<Key> {
    match resource_type {
        ResourceType::Service | ResourceType::Endpoints => service_key(name),
        ResourceType::Address => name.parse().ok().map(|address: IpAddr| Key::Address(address.to_canonical())),
        ResourceType::Namespaces => None,
    }
}

fn take_address(address: IpAddr, text: &str, table: &mut Table) -> Result<bool, String> {
    let what = match text {
        "" => Address::Pod,
        service => {
            let name = NamespacedName::parse(service);
            Address::ClusterIp(
                name.ok_or_else(|| format!("{} is not namespace/name", quoted(&service, MAX_QUOTED_CHARS)))?,
            )
        }
    };
    table.set_address(address, what);
    Ok(true)
}

/// Reads a Service from the JSON that a table has for it.
fn read_spec(name: &NamespacedName, text: &str) -> Result<ServiceSpec, FieldErrors> {
    let mut wire = wire::Service::default();
    let (table, key) = (FieldPathRef::root("table"), name.as_str());
    read_json(text.as_bytes(), &mut wire, Some(&table.field("services").key(key)), None)?;
    ServiceSpec::compile(key, &wire)
}

/// The first of the errors: one says enough in a message.
fn first(errors: &FieldErrors) -> String {
    errors.listed().first().map(FieldError::to_string).unwrap_or_default()
}

//! The names that the filter gets, by what its namespace sees.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use byname_core::wire;

use super::class::{CallerClass, ListenerSettings, ModuleSchema};
use crate::{
    compile::{self, CompileOptions},
    kubernetes::{NamespacedName, Visibility},
};

/// The filter's configuration with the Services of all namespaces, and who sees which.
pub(super) struct FilterNames {
    /// All but the Services.
    wire: wire::Config,
    services: BTreeMap<String, wire::Service>,
    text: String,
    /// The Services that only these namespaces see.
    restricted: BTreeMap<NamespacedName, BTreeSet<Box<str>>>,
    /// The namespaces that see any of them, each with the first namespace that sees the same ones.
    views: BTreeMap<Box<str>, Arc<str>>,
    /// Made when the first configuration with only some of the Services, or with other settings, is asked for.
    lines: OnceCell<ServiceLines>,
}

/// The Services as the text of a configuration has them, so that each is written once for all views.
struct ServiceLines {
    /// By key.
    services: Vec<(String, String)>,
    /// The places of those that all namespaces see.
    of_everyone: Vec<usize>,
    /// The places of those that callers of a view see besides.
    of_view: BTreeMap<Arc<str>, Vec<usize>>,
}

impl ServiceLines {
    fn new(
        services: &BTreeMap<String, wire::Service>,
        restricted: &BTreeMap<NamespacedName, BTreeSet<Box<str>>>,
        views: &BTreeMap<Box<str>, Arc<str>>,
    ) -> Self {
        let (mut of_everyone, mut of_view) = (Vec::new(), BTreeMap::<Arc<str>, Vec<usize>>::new());
        for (place, key) in services.keys().enumerate() {
            let Some(namespaces) = NamespacedName::parse(key).and_then(|name| restricted.get(&name)) else {
                of_everyone.push(place);
                continue;
            };
            let views = namespaces.iter().filter_map(|namespace| Some((namespace, views.get(namespace)?)));
            for (_, view) in views.filter(|(namespace, view)| ***namespace == ***view) {
                of_view.entry(Arc::clone(view)).or_default().push(place);
            }
        }
        let services = services.iter().map(|(key, service)| (key.clone(), compile::service_text(service)));
        Self { services: services.collect(), of_everyone, of_view }
    }

    /// The Services that callers of the view see, in the order of their keys.
    fn visible(&self, view: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
        let of_view = view.and_then(|view| self.of_view.get(view)).map(Vec::as_slice).unwrap_or_default();
        let places = merged(&self.of_everyone, of_view);
        places.filter_map(|place| self.services.get(place)).map(|(key, text)| (key.as_str(), text.as_str()))
    }
}

/// The places of both lists, which are in ascending order and have none in common.
fn merged<'p>(one: &'p [usize], other: &'p [usize]) -> impl Iterator<Item = usize> + use<'p> {
    let (mut one, mut other) = (one.iter().copied().peekable(), other.iter().copied().peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(left), Some(right)) if left > right => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

impl FilterNames {
    pub(super) fn new<'s>(
        mut wire: wire::Config,
        text: String,
        visibilities: impl Iterator<Item = (&'s NamespacedName, &'s Visibility)>,
    ) -> Self {
        let restricted: BTreeMap<NamespacedName, BTreeSet<Box<str>>> = visibilities
            .filter_map(|(name, visibility)| match visibility {
                Visibility::Everyone => None,
                Visibility::Namespaces(namespaces) => Some((name.clone(), namespaces.clone())),
            })
            .collect();
        let mut seen: BTreeMap<&str, Vec<&NamespacedName>> = BTreeMap::new();
        for (name, namespaces) in &restricted {
            namespaces.iter().for_each(|namespace| seen.entry(namespace).or_default().push(name));
        }
        let mut firsts: BTreeMap<Vec<&NamespacedName>, Arc<str>> = BTreeMap::new();
        let mut views = BTreeMap::new();
        for (namespace, names) in seen {
            let first = firsts.entry(names).or_insert_with(|| namespace.into());
            views.insert(namespace.into(), Arc::clone(first));
        }
        let services = std::mem::take(&mut wire.table.services);
        Self { wire, services, text, restricted, views, lines: OnceCell::new() }
    }

    pub(super) fn differs_from(&self, other: &Self) -> bool {
        self.text != other.text || self.restricted != other.restricted
    }

    /// What callers of the namespace see: the same for all that see the same Services.
    pub(super) fn view_of(&self, namespace: Option<&str>) -> Option<Arc<str>> {
        self.views.get(namespace?).cloned()
    }

    /// The configuration that callers of this class get.
    pub(super) fn text_for(&self, class: &CallerClass, options: &CompileOptions) -> String {
        let is_for_all = self.restricted.is_empty() && class.listener == ListenerSettings::default();
        if is_for_all && class.schema == ModuleSchema::Current {
            return self.text.clone();
        }
        let lines = self.lines.get_or_init(|| ServiceLines::new(&self.services, &self.restricted, &self.views));
        let view = class.view.as_deref();
        let mut config = with_listener(self.wire.clone(), class.listener, options);
        if !self.restricted.is_empty() {
            self.hide_fallbacks(&mut config, view);
            config.table.version = compile::table_version(lines.visible(view), options);
        }
        if class.schema == ModuleSchema::Oldest {
            config = compile::oldest(&config);
        }
        compile::text_with(&config, lines.visible(view))
    }

    /// Removes fallbacks of what the view does not have, and fallbacks that lead there. An alias that leads there stays: it is as one that
    /// leads to a missing Service.
    fn hide_fallbacks(&self, config: &mut wire::Config, view: Option<&str>) {
        let is_hidden = |key: &str| {
            let namespaces = NamespacedName::parse(key).and_then(|name| self.restricted.get(&name));
            namespaces.is_some_and(|namespaces| !view.is_some_and(|view| namespaces.contains(view)))
        };
        let fallbacks = self.wire.fallback.services.iter();
        let visible =
            fallbacks.filter(|(key, fallback)| !is_hidden(key) && !fallback.service.as_deref().is_some_and(is_hidden));
        config.fallback.services = visible.map(|(key, fallback)| (key, fallback.clone())).collect();
    }
}

/// The configuration with what a listener asks for, where the server's own configuration does not say it.
fn with_listener(mut config: wire::Config, listener: ListenerSettings, options: &CompileOptions) -> wire::Config {
    if listener.refuses_unknown_names && !options.base.says(["unknownNames"]) {
        config.unknown_names = wire::UnknownNames::Refuse;
    }
    if listener.port.is_some() && !options.base.says(["destinationPort"]) {
        config.destination_port = Some(wire::DestinationPort { header: None, listener_port: listener.port });
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions are hashes of the bytes, so another text of the same Services would be sent to all.
    #[test]
    fn a_view_has_the_text_of_a_table_with_what_it_sees() {
        let only = |names: &[&str]| Visibility::Namespaces(names.iter().map(|name| (*name).into()).collect());
        // In the order of keys "a-b/one" is before "a/one", in the order of names after it.
        let all = [("a", "one", only(&["a", "b"])), ("a-b", "one", only(&["b"])), ("a", "two", Visibility::Everyone)];
        let all: Vec<_> =
            all.into_iter().map(|(namespace, name, seen)| (NamespacedName::new(namespace, name), seen)).collect();
        let table = |viewer: &str| -> BTreeMap<String, wire::Service> {
            let seen = all.iter().filter(|(_, visibility)| visibility.includes(viewer));
            seen.map(|(name, _)| (name.to_string(), wire::Service::default())).collect()
        };
        let options = CompileOptions::default();
        let config = |services: BTreeMap<String, wire::Service>| {
            let texts = services.iter().map(|(key, service)| (key.as_str(), compile::service_text(service)));
            let version = compile::table_version(texts, &options);
            wire::Config {
                table: wire::Table { version, services, ..wire::Table::default() },
                ..wire::Config::default()
            }
        };
        let whole = config(all.iter().map(|(name, _)| (name.to_string(), wire::Service::default())).collect());
        let text = compile::text(&whole);
        let names = FilterNames::new(whole, text, all.iter().map(|(name, seen)| (name, seen)));
        for (viewer, seen) in [("a", 2), ("b", 3), ("c", 1)] {
            let class = CallerClass { view: names.view_of(Some(viewer)), ..CallerClass::default() };
            let current = CallerClass { schema: ModuleSchema::Current, ..class.clone() };
            let wanted = config(table(viewer));
            assert_eq!(wanted.table.services.len(), seen);
            assert_eq!(names.text_for(&current, &options), compile::text(&wanted), "{viewer}");
            assert_eq!(names.text_for(&class, &options), compile::text(&compile::oldest(&wanted)), "{viewer}");
        }
    }

    #[test]
    fn namespaces_that_see_the_same_share_a_view() {
        let only = |names: &[&str]| Visibility::Namespaces(names.iter().map(|name| (*name).into()).collect());
        let (one, two, three) =
            (NamespacedName::new("a", "one"), NamespacedName::new("a", "two"), NamespacedName::new("a", "three"));
        let visibilities = [(&one, only(&["a", "b", "c"])), (&two, only(&["c"])), (&three, Visibility::Everyone)];
        let visibilities = visibilities.iter().map(|(name, visibility)| (*name, visibility));
        let names = FilterNames::new(wire::Config::default(), String::new(), visibilities);
        let views = ["a", "b", "c", "d"].map(|namespace| names.view_of(Some(namespace)));
        assert_eq!(views, [Some("a".into()), Some("a".into()), Some("c".into()), None]);
    }
}

//! The resource types that a server has, and the rules of each.

use std::time::Duration;

/// How long changes of a type are collected before they are passed on together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// From the first change until the window closes.
    pub(crate) length: Duration,
    /// The least time between two windows' ends.
    pub(crate) apart: Duration,
}

/// A resource type: its URL and the rules by which its resources are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceType {
    pub(crate) url: Box<str>,
    pub(crate) window: Window,
    pub(crate) wildcard: Vec<Box<str>>,
    pub(crate) is_ever_removed: bool,
    pub(crate) follows: Option<TypeIndex>,
    pub(crate) is_linked: bool,
    /// The type whose window this one shares; by default its own.
    pub(crate) window_of: Option<TypeIndex>,
    /// The type whose resources refer to those of this one.
    pub(crate) removed_after: Option<TypeIndex>,
}

impl ResourceType {
    /// Returns a type of this URL, as `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
    ///
    /// `window` is the time for which changes are collected: it opens with the first change and closes whatever follows, so
    /// that steady changes delay nothing further.
    #[must_use]
    pub fn new(url: impl Into<Box<str>>, window: Duration) -> Self {
        Self {
            url: url.into(),
            window: Window { length: window, apart: window },
            wildcard: Vec::new(),
            is_ever_removed: true,
            follows: None,
            is_linked: false,
            window_of: None,
            removed_after: None,
        }
    }

    /// Closes a window this soon after its first change, if the window before it closed long enough ago: windows still close at least the
    /// type's `window` apart. So a change after a quiet time is passed on soon, and steady changes make no more messages than before.
    #[must_use]
    pub fn first_window(mut self, length: Duration) -> Self {
        self.window.length = length.min(self.window.apart);
        self
    }

    /// Sets the names that a wildcard subscription stands for (section "How the client specifies what resources to return").
    ///
    /// Without it a wildcard stands for no name: the client gets one empty answer, so that it does not wait for more.
    #[must_use]
    pub fn wildcard<N: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.wildcard = names.into_iter().map(Into::into).collect();
        self
    }

    /// Never tells a client that a resource is missing: the client keeps its last known good.
    ///
    /// Envoy answers every request with 500 once the extension configuration of a filter without a default is removed.
    #[must_use]
    pub fn never_removed(mut self) -> Self {
        self.is_ever_removed = false;
        self
    }

    /// Lets resources of this type lead to others: see [`ResourceSource::leads_to`](crate::ResourceSource::leads_to).
    ///
    /// A client of such a type counts every name in a message as subscribed, because the server subscribes it to names that it has
    /// not asked for. So an unsubscription that comes before the ACK of a message with the name does not count: the client will find the
    /// name in that message. There is no wildcard, and `*` is a name like any other.
    #[must_use]
    pub fn linked(mut self) -> Self {
        self.is_linked = true;
        self
    }

    /// Collects changes in the window of another type, so that changes of both that were collected together are sent together, in the
    /// order of the types.
    #[must_use]
    pub fn in_window_of(mut self, other: TypeIndex) -> Self {
        self.window_of = Some(other);
        self
    }

    /// Removes a resource from a client only while no resource of the other type, which refers to those of this one, waits to be sent to the
    /// client: the client lets go of a resource before it loses the resource. Add `in_window_of` for changes that are collected together.
    #[must_use]
    pub fn removed_after(mut self, other: TypeIndex) -> Self {
        self.removed_after = Some(other);
        self
    }

    /// Sends a resource after, and once more after, the resource of the same name of another type.
    ///
    /// Envoy warms a cluster that was sent with endpoints that come after it only, changed or not (section "Resource warming").
    #[must_use]
    pub fn following(mut self, other: TypeIndex) -> Self {
        self.follows = Some(other);
        self
    }
}

/// A type's place in the [`ResourceTypes`] that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeIndex(pub(crate) usize);

/// The types of a server, in the order in which they are sent where several have something to send.
///
/// Add clusters before their endpoints: make before break (section "Eventual consistency considerations"). Where clusters are
/// asked for on demand, add the type that refers to clusters before the clusters, which are
/// [removed after](ResourceType::removed_after) it: it lets go of a cluster before the cluster is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTypes(Vec<ResourceType>);

impl ResourceTypes {
    /// Adds a type after all others. A type can follow only one that was added before it.
    pub fn add(&mut self, resource_type: ResourceType) -> TypeIndex {
        self.0.push(resource_type);
        TypeIndex(self.0.len() - 1)
    }

    /// Returns the type's URL; empty for the index of another `ResourceTypes`.
    #[must_use]
    pub fn url(&self, index: TypeIndex) -> &str {
        self.get(index).map_or("", |resource_type| &resource_type.url)
    }

    /// Returns the index of the type with this URL.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<TypeIndex> {
        self.0.iter().position(|resource_type| *resource_type.url == *url).map(TypeIndex)
    }

    pub(crate) fn get(&self, index: TypeIndex) -> Option<&ResourceType> {
        self.0.get(index.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TypeIndex, &ResourceType)> {
        self.0.iter().enumerate().map(|(index, resource_type)| (TypeIndex(index), resource_type))
    }
}

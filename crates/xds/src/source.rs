//! Where the bytes of resources come from.

use crate::TypeIndex;

/// What is known of the resources now. The server asks it only for names that somebody subscribes to.
///
/// Whoever changes what a source returns tells the server by [`ServerEvent::Changed`](crate::ServerEvent::Changed), afterwards.
pub trait ResourceSource {
    /// Who a stream belongs to: what its verified identity and its node say.
    type Caller;
    /// A class of callers that get the same bytes of a resource, as those of one zone.
    type Class: Clone + Ord;
    /// The encoded bytes of a resource. A clone should share them.
    type Body: Clone + AsRef<[u8]>;

    /// Returns the class whose variant of the resource the caller gets.
    ///
    /// `None`: there is no such resource, or the caller may not see it. A client is told the same in both cases. The server asks
    /// each time before it sends, so nothing is sent that the source hides.
    fn class(&self, resource_type: TypeIndex, name: &str, caller: &Self::Caller) -> Option<Self::Class>;

    /// Returns the resources that a resource leads to: whoever is told of it needs them next, as the target of an alias. The class is one
    /// that [`class`](Self::class) returned.
    ///
    /// The server subscribes the stream to them and answers them too, as missing where they are. They are resources of types that are
    /// [linked](crate::ResourceType::linked), as the resource itself is: others are not asked about.
    fn leads_to(&self, resource_type: TypeIndex, name: &str, class: &Self::Class) -> Vec<(TypeIndex, String)> {
        let _ = (resource_type, name, class);
        Vec::new()
    }

    /// Encodes the variant of a resource for a class that [`class`](Self::class) returned.
    ///
    /// The same content must always have the same bytes: their hash is the version. The server keeps the bytes until the
    /// resource changes or nobody subscribes to it.
    ///
    /// `None`: the variant cannot be sent, as one that is too large. The client is told that it is missing, and the source is not asked again
    /// until the resource changes.
    fn encode(&self, resource_type: TypeIndex, name: &str, class: &Self::Class) -> Option<Self::Body>;
}

//! One name on one stream: what its client was told of it, and what to do about it now.

use crate::{Nonce, ResourceType, Version};

/// One name, and what its client was told of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) told: Told,
    refused: Option<Refused>,
    /// The message that told it. Zero: no message of this stream.
    pub(crate) sent_in: Nonce,
    /// Whether to send even what the client was told: the client asked again, or its cluster was sent anew.
    pub(crate) is_owed: bool,
    /// Whether the client has a version from an earlier stream that was not compared with the content yet.
    pub(crate) is_brought: bool,
    pub(crate) by_name: bool,
    pub(crate) by_wildcard: bool,
    /// The bytes of the name.
    pub(crate) name_bytes: u16,
}

/// What a client was told of a name, by this stream or by an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Told {
    #[default]
    Nothing,
    Missing,
    Version(Version),
}

/// The last version that the client refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    version: Version,
    /// Whether it was refused alone. Otherwise another resource of its message may be to blame.
    is_final: bool,
}

/// How far what a client was told of a name has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The client was told nothing yet.
    NotSent,
    /// The client was told, and has not answered.
    Sent,
    /// The client has acknowledged it, or brought it along from an earlier stream.
    Acknowledged,
    /// The client refused it, and keeps what it had.
    Refused,
}

/// What to do about a name whose content may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendDecision {
    /// The client needs nothing, or must not get it.
    Skip,
    Send,
    /// In a message of its own: it was refused together with others.
    SendAlone,
}

impl Subscription {
    /// A subscription to a name of so many bytes, of which its client was told nothing.
    pub(crate) fn of_name(name_bytes: u16) -> Self {
        Self { name_bytes, ..Self::default() }
    }

    /// Decides what to do now that the content has this version. `None`: there is no such resource for the caller.
    pub(crate) fn decide(&self, version: Option<Version>, rules: &ResourceType) -> SendDecision {
        let Some(version) = version else {
            let is_news = self.is_owed || self.told != Told::Missing;
            return if rules.is_ever_removed && is_news { SendDecision::Send } else { SendDecision::Skip };
        };
        let refused = self.refused.filter(|refused| refused.version == version);
        match refused {
            Some(Refused { is_final: true, .. }) => SendDecision::Skip,
            _ if self.told == Told::Version(version) && !self.is_owed => SendDecision::Skip,
            Some(_) => SendDecision::SendAlone,
            None => SendDecision::Send,
        }
    }

    /// How far what the client was told has come, if the message that told it `is_under_way`.
    pub(crate) fn receipt(&self, is_under_way: bool) -> Receipt {
        let is_refused =
            |version| self.refused.is_some_and(|it| it.version == version && (it.is_final || self.is_owed));
        match self.told {
            Told::Nothing => Receipt::NotSent,
            _ if is_under_way => Receipt::Sent,
            Told::Version(version) if is_refused(version) => Receipt::Refused,
            Told::Version(_) | Told::Missing => Receipt::Acknowledged,
        }
    }

    /// Takes note that a message tells the client this version, or that the resource is missing.
    pub(crate) fn tell(&mut self, version: Option<Version>, nonce: Nonce) {
        self.told = version.map_or(Told::Missing, Told::Version);
        self.sent_in = nonce;
        self.is_owed = false;
    }

    /// Takes note that the client refused the message that told it, with so many resources. Returns whether to send it again.
    pub(crate) fn refuse(&mut self, resources: usize) -> bool {
        let is_final = resources == 1;
        let is_sent_again = match self.told {
            Told::Version(version) => {
                self.refused = Some(Refused { version, is_final });
                !is_final
            }
            // Resources beside the removal may be to blame. A removal that was refused by itself would be refused again.
            Told::Missing => resources > 0,
            Told::Nothing => false,
        };
        self.is_owed |= is_sent_again;
        is_sent_again
    }
}

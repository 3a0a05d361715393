//! One name on one stream: what its client was told of it, and what to do about it now.

use crate::{Nonce, ResourceType, Version};

/// One name, and what its client was told of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) told: Told,
    refused: Option<Refused>,
    /// The message that told it; zero: none of this stream.
    pub(crate) sent_in: Nonce,
    /// Send even what the client was told: it asked again, or what it has is of no use without this.
    pub(crate) is_owed: bool,
    pub(crate) by_name: bool,
    pub(crate) by_wildcard: bool,
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

/// What to do about a name whose content may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Send,
    SendAlone,
}

impl Subscription {
    /// What to do now that the content has this version; `None`: there is no such resource for the caller.
    pub(crate) fn step(&self, version: Option<Version>, rules: &ResourceType) -> Step {
        let Some(version) = version else {
            let is_news = self.is_owed || self.told != Told::Missing;
            return if rules.is_ever_removed && is_news { Step::Send } else { Step::Nothing };
        };
        let refused = self.refused.filter(|refused| refused.version == version);
        match refused {
            Some(Refused { is_final: true, .. }) => Step::Nothing,
            _ if self.told == Told::Version(version) && !self.is_owed => Step::Nothing,
            Some(_) => Step::SendAlone,
            None => Step::Send,
        }
    }

    /// Takes note that a message tells the client this version, or that the resource is missing.
    pub(crate) fn tell(&mut self, version: Option<Version>, nonce: Nonce) {
        self.told = version.map_or(Told::Missing, Told::Version);
        self.sent_in = nonce;
        self.is_owed = false;
    }

    /// Takes note that the client refused the message with so many resources that told it, and returns whether to send again.
    pub(crate) fn refuse(&mut self, resources: usize) -> bool {
        let is_final = resources == 1;
        let is_sent_again = match self.told {
            Told::Version(version) => {
                self.refused = Some(Refused { version, is_final });
                !is_final
            }
            // Right, but beside resources that were not. Refused by itself, it would be refused again.
            Told::Missing => resources > 0,
            Told::Nothing => false,
        };
        self.is_owed |= is_sent_again;
        is_sent_again
    }
}

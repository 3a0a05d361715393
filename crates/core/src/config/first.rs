//! The first configuration of a process: Services that cannot be taken are left out of it, where it asks for that.
//!
//! Later there is a last known good configuration, and one that cannot be taken as a whole is refused.

use alloc::{boxed::Box, vec::Vec};

use super::{Config, Defaults, services::ServiceReader};
use crate::{
    limits::MAX_FIRST_READS,
    wire::{self, FieldErrors, FirstConfiguration, PathElement},
};

/// The Services that were left out of a first configuration.
#[derive(Debug, Default)]
pub struct ServicesLeftOut {
    /// Their number.
    pub count: usize,
    /// What is wrong with them.
    pub problems: FieldErrors,
}

impl Config {
    /// Reads a configuration that [`Config::read`] has `refused`, without the Services that cannot be taken. Each attempt finds more of
    /// them, up to [`MAX_FIRST_READS`].
    ///
    /// # Errors
    /// `refused`, if the configuration does not ask for this; else every error that is not of a Service.
    #[inline(never)]
    pub fn read_first(json: &[u8], refused: FieldErrors, defaults: &Defaults<'_>) -> Result<Self, FieldErrors> {
        if wire::read_header(json).map_or(FirstConfiguration::Refuse, |header| header.first_configuration)
            == FirstConfiguration::Refuse
        {
            return Err(refused);
        }
        let mut left_out: Vec<Box<str>> = Vec::new();
        let (mut problems, mut found) = (FieldErrors::default(), refused);
        for _ in 0..MAX_FIRST_READS {
            let before = left_out.len();
            for error in found.listed() {
                match error.path.elements() {
                    [PathElement::Field(table), PathElement::Field(services), PathElement::Key(key), ..]
                        if *table == "table" && *services == "services" =>
                    {
                        if !left_out.contains(key) {
                            left_out.push(key.clone());
                        }
                    }
                    _ => return Err(found),
                }
            }
            if left_out.len() == before {
                return Err(found);
            }
            // Those that are only counted are found again.
            found.listed().iter().for_each(|error| problems.push(error.clone()));
            let read = wire::read_configuration(json, &|| ServiceReader::without(&left_out))
                .and_then(|(wire, unknown)| Self::unpack(wire, unknown, defaults));
            match read {
                Ok(config) => {
                    return Ok(Self {
                        services_left_out: ServicesLeftOut { count: left_out.len(), problems },
                        ..config
                    });
                }
                Err(more) => found = more,
            }
        }
        Err(found)
    }

    /// Whether Services may be left out of a first configuration.
    #[must_use]
    pub fn may_leave_out_services(&self) -> bool {
        self.first_configuration == FirstConfiguration::LeaveOut
    }

    /// The Services that were left out.
    #[must_use]
    pub fn services_left_out(&self) -> &ServicesLeftOut {
        &self.services_left_out
    }
}

//! A configuration that is read in slices, so that no request waits for the whole of it.
//!
//! A worker of Envoy that reads a table of 10,000 Services at once answers nothing for tens of milliseconds. Each slice takes about one.
//! The text is cut into Services without being understood: whatever is unusual in it is left to [`Config::read`], which reads whole
//! texts and has the words for every error.

use alloc::{boxed::Box, vec::Vec};
use core::mem::take;

use super::{Config, Defaults, building::Building, services::ServiceReader};
use crate::{
    limits::{MAX_SERVICES, SLICE_BYTES},
    wire::{self, FieldPathRef, NextEntry, Unpacking, find_services, next_entry, read_configuration},
};

/// Bytes whose Services are counted in one slice: that takes an eighth of what reading them does.
const COUNTED_BYTES: usize = 8 * SLICE_BYTES;

/// A configuration of which slices were read.
pub struct ConfigReading {
    text: Vec<u8>,
    phase: Phase,
    /// The place of the brace of the object of Services.
    services: usize,
    /// The place behind what was read of that object.
    at: usize,
    count: usize,
    /// The configuration without its Services, where they are packed.
    rest: Option<Box<wire::Config<ServiceReader>>>,
    unpacking: Option<Box<Unpacking>>,
    reader: ServiceReader,
    building: Option<Box<Building>>,
}

/// What is done next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Find,
    Unpack,
    /// Count the Services and find their end, so that the rest is read before them.
    Count,
    Read,
}

/// What a slice has brought.
pub enum ReadingStep {
    /// There is more to read.
    More,
    /// The whole configuration.
    Done(Box<Config>),
    /// The text has to be read as a whole: there may be an error in it, or it has fields of a newer byname.
    Whole(Vec<u8>),
}

impl ConfigReading {
    /// Begins to read a text.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Self {
        Self {
            text,
            phase: Phase::Find,
            services: 0,
            at: 0,
            count: 0,
            rest: None,
            unpacking: None,
            reader: ServiceReader::default(),
            building: None,
        }
    }

    /// Reads the next slice.
    pub fn step(&mut self, defaults: &Defaults<'_>) -> ReadingStep {
        match self.read_on(defaults) {
            Some(step) => step,
            None => ReadingStep::Whole(take(&mut self.text)),
        }
    }

    /// `None` if the text has to be read as a whole.
    #[inline(never)]
    fn read_on(&mut self, defaults: &Defaults<'_>) -> Option<ReadingStep> {
        match self.phase {
            Phase::Find => match find_services(&self.text) {
                Some(start) => self.count_from(start),
                None => {
                    let mut rest = read_rest(&self.text)?;
                    let packed = rest.table.packed.take()?;
                    self.unpacking = Some(Box::new(packed.unpack(&FieldPathRef::root("table")).ok()?));
                    self.rest = Some(rest);
                    self.phase = Phase::Unpack;
                }
            },
            Phase::Unpack => {
                let unpacking = self.unpacking.as_mut()?;
                if unpacking.step(SLICE_BYTES / 4, &FieldPathRef::root("table")).ok()? {
                    let start = unpacking.text.iter().position(|byte| !byte.is_ascii_whitespace())?;
                    if unpacking.text.get(start) != Some(&b'{') {
                        return None;
                    }
                    self.count_from(start);
                }
            }
            Phase::Count => {
                if self.entries(COUNTED_BYTES)? {
                    let rest = self.read_around()?;
                    self.building = Some(Box::new(Building::begin(*rest, self.count, defaults)));
                    (self.at, self.phase) = (self.services + 1, Phase::Read);
                }
            }
            Phase::Read => {
                if self.entries(SLICE_BYTES)? {
                    // An error between Services has its words when all are read as one.
                    let config = self.building.take()?.finish().ok()?;
                    return Some(ReadingStep::Done(Box::new(config)));
                }
            }
        }
        Some(ReadingStep::More)
    }

    fn count_from(&mut self, start: usize) {
        (self.services, self.at, self.phase) = (start, start + 1, Phase::Count);
    }

    /// Counts or reads the next Services, about so many bytes of them, and returns whether they were the last.
    fn entries(&mut self, bytes: usize) -> Option<bool> {
        let text = self.unpacking.as_ref().map_or(&self.text, |unpacked| &unpacked.text);
        let end = self.at + bytes;
        while self.at < end {
            match next_entry(text, self.at, self.at == self.services + 1)? {
                NextEntry::Entry { key, value } => {
                    self.at = value.end;
                    if self.phase == Phase::Count {
                        self.count += 1;
                    } else {
                        let spec = self.reader.read_one(text.get(key)?, text.get(value)?)?;
                        self.building.as_mut()?.add(spec);
                    }
                }
                NextEntry::End(end) => {
                    self.at = end;
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    /// Reads the configuration around its Services, whose end was found.
    fn read_around(&mut self) -> Option<Box<wire::Config<ServiceReader>>> {
        if self.count > MAX_SERVICES {
            return None;
        }
        if let Some(unpacked) = &self.unpacking {
            let rest = self.rest.take()?;
            return unpacked.text.get(self.at..)?.trim_ascii().is_empty().then_some(rest);
        }
        let mut rest = self.text.get(..=self.services)?.to_vec();
        rest.extend(self.text.get(self.at - 1..)?);
        // Both forms at once are an error, which has words.
        read_rest(&rest).filter(|rest| rest.table.packed.is_none())
    }
}

/// Reads a configuration without its Services.
fn read_rest(text: &[u8]) -> Option<Box<wire::Config<ServiceReader>>> {
    let (wire, _) = read_configuration(text, &ServiceReader::default).ok()?;
    // Fields that this module does not know have to be counted.
    (!wire.is_newer()).then(|| Box::new(wire))
}

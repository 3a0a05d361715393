//! Which requests are observed: they go on unchanged, and what would be done to them is counted and shown.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::mem::take;

use crate::{
    names::{NamespacedName, is_label},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, Mode},
};

const ALL_PERCENT: u32 = 100;

/// The modes of a configuration in which a request may be observed.
#[derive(Debug)]
pub(crate) struct Modes {
    mode: Mode,
    /// Namespaces, and Services as `namespace/name`, with the other mode.
    exceptions: Vec<String>,
    percent: u32,
}

impl Modes {
    /// Compiles `mode`, `modeExceptions` and `observePercent`. `None`: no request is observed.
    #[inline(never)]
    pub(crate) fn compile<S>(wire: &mut wire::Config<S>, errors: &mut FieldErrors) -> Option<Box<Self>> {
        let percent = wire.observe_percent.unwrap_or(ALL_PERCENT);
        if percent > ALL_PERCENT {
            errors.add(&FieldPathRef::root("observePercent"), percent, FieldErrorType::TooLarge(ALL_PERCENT));
        }
        for (index, exception) in wire.mode_exceptions.iter().enumerate() {
            if !is_label(exception) && NamespacedName::parse(exception).is_none() {
                let at = FieldPathRef::root("modeExceptions");
                errors.add(&at.index(index), exception, FieldErrorType::InvalidModeException);
            }
        }
        let may_observe = wire.may_observe();
        may_observe.then(|| Box::new(Self { mode: wire.mode, exceptions: take(&mut wire.mode_exceptions), percent }))
    }

    /// Whether every request is observed.
    pub(crate) fn observe_all(&self) -> bool {
        self.exceptions.is_empty() && self.mode == Mode::Observe && self.percent == ALL_PERCENT
    }

    /// Whether the mode depends on the Service.
    pub(crate) fn has_exceptions(&self) -> bool {
        !self.exceptions.is_empty()
    }

    /// The share of requests that are observed, of those that resolve to the Service `namespace/name`; to none where `service` is empty.
    pub(crate) fn observed_percent(&self, service: &str) -> u32 {
        let is_exception = self.exceptions.iter().any(|exception| {
            service.strip_prefix(&**exception).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if (self.mode == Mode::Observe) == is_exception { 0 } else { self.percent }
    }
}

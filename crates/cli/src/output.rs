//! Output: text for people at a terminal; files, JSON and YAML for programs.

mod age;
mod files;
mod json;
mod list;
mod pager;
mod terminal;
mod wrap;
pub(crate) mod yaml;

pub(crate) use self::json::ascii;
pub use self::{
    age::age,
    files::{directory_of, replace, write, write_all, write_json},
    list::{count, some},
    pager::turn_off as turn_pager_off,
    terminal::{ASIDE, ERROR, GOOD, NAME, WARNING, error, is_harmful, note, plain, print, warn},
    wrap::{columns, wrapped, wrapped_lines},
};

//! Prints the sizes of the parts of the shipped module.

mod part;

use std::{collections::HashMap, fs, ops::Range, path::Path};

use anyhow::{Context, Result, ensure};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::module::{self, SHIPPED};
use part::part_of;

/// The row for texts and constants.
const DATA: &str = "data: texts and constants";
/// The row for types, imports, tables, exports and section headers.
const REST: &str = "rest: types, tables, imports, exports";

/// Prints a Markdown table with the bytes of each part of the module, the largest first.
pub(crate) fn print(root: &Path) -> Result<()> {
    let shipped = fs::read(root.join(SHIPPED)).with_context(|| format!("cannot read {SHIPPED}: run `make build`"))?;
    let read = ModuleBytes::read(&module::with_names(root)?)?;
    // Names are in a section of their own. Without it the module equals the shipped one.
    ensure!(read.without_names == shipped, "{SHIPPED} is out of date: run `make build`");
    print!("{}", table(&read.rows(), shipped.len()));
    Ok(())
}

/// A module by its parts.
struct ModuleBytes {
    without_names: Vec<u8>,
    /// The names of functions, with the bytes of their code.
    functions: Vec<(String, usize)>,
    data: usize,
}

impl ModuleBytes {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut imported = 0;
        let mut sizes = Vec::new();
        let mut names = HashMap::new();
        let mut data = 0;
        let mut without_names = bytes.to_vec();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ImportSection(imports) => imported = module::imported_functions(imports)?,
                Payload::CodeSectionEntry(body) => sizes.push(with_length(&in_memory(body.range())?)),
                Payload::DataSection(section) => data = 1 + with_length(&in_memory(section.range())?),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(read) = section.as_known() {
                        for name in read {
                            if let Name::Function(functions) = name? {
                                for function in functions {
                                    let function = function?;
                                    names.insert(function.index, module::demangled(function.name));
                                }
                            }
                        }
                        let content = in_memory(section.range())?;
                        without_names.drain(content.end - (1 + with_length(&content))..content.end);
                    }
                }
                _ => {}
            }
        }
        ensure!(!names.is_empty(), "the module has no names of functions");
        let functions = sizes.into_iter().zip(imported..);
        let functions = functions.map(|(size, index)| (names.remove(&index).unwrap_or_default(), size)).collect();
        Ok(Self { without_names, functions, data })
    }

    /// The parts and their bytes, the largest first. Their sum is the size of the module.
    fn rows(&self) -> Vec<(String, usize)> {
        let mut sums: HashMap<String, usize> = HashMap::new();
        for (name, size) in &self.functions {
            *sums.entry(part_of(name)).or_default() += size;
        }
        sums.insert(DATA.to_owned(), self.data);
        let told: usize = sums.values().sum();
        sums.insert(REST.to_owned(), self.without_names.len() - told);
        let mut rows: Vec<(String, usize)> = sums.into_iter().collect();
        rows.sort_unstable_by(|(one, size), (other, other_size)| other_size.cmp(size).then_with(|| one.cmp(other)));
        rows
    }
}

fn in_memory(range: Range<u64>) -> Result<Range<usize>> {
    Ok(range.start.try_into()?..range.end.try_into()?)
}

/// The bytes of a part and its length, which precedes the part in LEB128.
fn with_length(range: &Range<usize>) -> usize {
    let length = range.len();
    let bits = usize::BITS - length.leading_zeros();
    length + (bits.max(1) as usize).div_ceil(7)
}

fn table(rows: &[(String, usize)], total: usize) -> String {
    let all = [("**all**".to_owned(), total)];
    let rows = rows.iter().chain(&all).map(|(part, bytes)| {
        format!("| {part} | {} | {:.1} % |\n", thousands(*bytes), *bytes as f64 * 100.0 / total as f64)
    });
    ["| part | bytes | share |\n|---|---:|---:|\n".to_owned()].into_iter().chain(rows).collect()
}

/// `12,345`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of one imported and two own functions, with a name for each.
    fn module() -> Vec<u8> {
        let mut module = walrus::Module::default();
        let ty = module.types.add(&[], &[]);
        module.add_import_func("env", "imported", ty);
        for (name, constants) in [("_ZN11byname_core4wire4read17h0427693e9d826719E", 90), ("malloc", 1)] {
            let mut function = walrus::FunctionBuilder::new(&mut module.types, &[], &[]);
            for _ in 0..constants {
                function.func_body().i32_const(1).drop();
            }
            let id = function.finish(Vec::new(), &mut module.funcs);
            module.funcs.get_mut(id).name = Some(name.to_owned());
            module.exports.add(name, id);
        }
        module.emit_wasm()
    }

    #[test]
    fn rows_add_up_to_the_module_without_names() {
        let read = ModuleBytes::read(&module()).expect("a module");
        let rows = read.rows();
        assert_eq!(rows.iter().map(|(_, size)| size).sum::<usize>(), read.without_names.len());
        // No locals, three bytes for each constant and its drop, the end, and two bytes of length.
        assert!(rows.contains(&("core: wire".to_owned(), 1 + 90 * 3 + 1 + 2)), "{rows:?}");
        let mut config = walrus::ModuleConfig::new();
        config.generate_name_section(false).generate_producers_section(false);
        let mut unnamed = config.parse(&module()).expect("a module");
        assert_eq!(read.without_names, unnamed.emit_wasm());
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!([0, 999, 1_000, 248_527].map(thousands), ["0", "999", "1,000", "248,527"]);
    }

    #[test]
    fn a_length_takes_a_byte_for_each_seven_bits() {
        assert_eq!([0..0, 0..127, 0..128, 0..16_384].map(|range| with_length(&range)), [1, 128, 130, 16_387]);
    }
}

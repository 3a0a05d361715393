//! The instructions that a request executes in the shipped module, by function.
//!
//! Fuel is more than that: the interpreter charges the whole body of a function, or of a loop or a condition in it, when it comes
//! to it, with the branches that are not taken. So a function that handles rare cases costs fuel, though they take no time.

use std::{cmp::Reverse, path::Path};

use anyhow::{Result, ensure};
use byname_test_support::SmallHost;
use serde_json::Value;
use walrus::{
    ConstExpr, FunctionId, GlobalId, InstrLocId, LocalFunction, Module, ValType,
    ir::{self, BinaryOp, Binop, Const, GlobalGet, GlobalSet, Instr, InstrSeq, InstrSeqId, Visitor},
};

use super::{
    fuel::{self, PATHS},
    numbers::table,
    progress::Progress,
};
use crate::module;

/// The number of Services. Requests execute the same with any number.
const SERVICES: usize = 10;
/// Functions that are printed.
const SHOWN: usize = 20;

/// The instructions of each kind of request, in the order of [`PATHS`].
type Counts = [u64; PATHS.len()];

/// What each function executes.
#[derive(Debug)]
pub(super) struct Instructions(Vec<(String, Counts)>);

pub(super) fn run(root: &Path, progress: &Progress) -> Result<Instructions> {
    progress.say("by function");
    let (module, names) = counting(&module::with_names(root)?)?;
    let mut host = SmallHost::of(&module)?;
    fuel::configure(&mut host, SERVICES)?;
    let mut counts = vec![Counts::default(); names.len()];
    for (index, path) in PATHS.iter().enumerate() {
        let mut before = vec![0; names.len()];
        fuel::warm_up(&mut host, path, |host| {
            before = (0..names.len()).map(|number| host.counter(&counter(number))).collect::<Result<_>>()?;
            Ok(())
        })?;
        for (number, (count, before)) in counts.iter_mut().zip(before).enumerate() {
            count[index] = host.counter(&counter(number))? - before;
        }
    }
    let mut functions: Vec<_> =
        names.into_iter().zip(counts).filter(|(_, counts)| *counts != [0; PATHS.len()]).collect();
    functions.sort_by_key(|(_, counts)| Reverse(*counts));
    ensure!(!functions.is_empty(), "nothing was counted");
    Ok(Instructions(functions))
}

/// The name of the global that counts what the function with this number executes.
fn counter(number: usize) -> String {
    format!("executed {number}")
}

/// The module with counters, and the names of its functions.
fn counting(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let mut module = Module::from_buffer(bytes)?;
    let functions: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
    let mut names = Vec::new();
    for id in functions {
        let global = module.globals.add_local(ValType::I64, true, false, ConstExpr::Value(ir::Value::I64(0)));
        module.exports.add(&counter(names.len()), global);
        let function = module.funcs.get_mut(id);
        names.push(module::demangled(function.name.as_deref().unwrap_or_default()));
        count(function.kind.unwrap_local_mut(), global);
    }
    Ok((module.emit_wasm(), names))
}

fn count(function: &mut LocalFunction, global: GlobalId) {
    #[derive(Default)]
    struct Sequences(Vec<InstrSeqId>);
    impl Visitor<'_> for Sequences {
        fn start_instr_seq(&mut self, sequence: &InstrSeq) {
            self.0.push(sequence.id());
        }
    }
    let mut sequences = Sequences::default();
    ir::dfs_in_order(&mut sequences, function, function.entry_block());
    for id in sequences.0 {
        let sequence = function.block_mut(id);
        let mut rest = std::mem::take(&mut sequence.instrs).into_iter().peekable();
        while rest.peek().is_some() {
            // Up to where execution may go elsewhere or come from elsewhere, it goes straight on.
            let mut straight = Vec::new();
            for instruction in rest.by_ref() {
                let ends =
                    matches!(instruction.0, Instr::Block(_) | Instr::Loop(_) | Instr::IfElse(_) | Instr::BrIf(_));
                straight.push(instruction);
                if ends {
                    break;
                }
            }
            let executed = straight.iter().filter(|(instruction, _)| costs_fuel(instruction)).count() as i64;
            let counting: [Instr; 4] = [
                GlobalGet { global }.into(),
                Const { value: ir::Value::I64(executed) }.into(),
                Binop { op: BinaryOp::I64Add }.into(),
                GlobalSet { global }.into(),
            ];
            sequence.instrs.extend(counting.map(|instruction| (instruction, InstrLocId::default())));
            sequence.instrs.append(&mut straight);
        }
    }
}

/// Whether the interpreter charges a unit of fuel for it.
fn costs_fuel(instruction: &Instr) -> bool {
    !matches!(instruction, Instr::Block(_) | Instr::Loop(_) | Instr::Drop(_) | Instr::Return(_) | Instr::Unreachable(_))
}

impl Instructions {
    fn total(&self) -> Counts {
        std::array::from_fn(|path| self.0.iter().map(|(_, counts)| counts[path]).sum())
    }

    pub(super) fn print(&self) {
        let [short, whole, alias, passed, refused] = PATHS.map(|(path, ..)| path);
        let mut table = table(["function", short, whole, alias, passed, refused], &[0]);
        let rest = self
            .0
            .iter()
            .skip(SHOWN)
            .fold(Counts::default(), |sum, (_, counts)| std::array::from_fn(|path| sum[path] + counts[path]));
        let shown = self.0.iter().take(SHOWN).map(|(name, counts)| (name.as_str(), *counts));
        for (name, counts) in shown.chain([("the rest", rest), ("all", self.total())]) {
            table.add_row([name.to_owned()].into_iter().chain(counts.map(|count| count.to_string())));
        }
        println!(
            "Instructions that a request executes in the module that ships, by function: the same on every machine."
        );
        println!("{table}\n");
    }

    pub(super) fn json(&self) -> Value {
        let totals = PATHS.iter().zip(self.total()).map(|((path, ..), count)| ((*path).to_owned(), count.into()));
        Value::Object(totals.collect())
    }
}

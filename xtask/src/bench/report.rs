//! From samples to numbers: a table to read, and a file with every sample.

use std::{fs, path::Path};

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::contestant::{ALL, Contestant};

/// How many Services the ratios of the whole are of.
const SERVICES: usize = 1_000;

/// Which names are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Always the same, a Service's short name.
    Same,
    /// Another with every request.
    Other,
}

impl Pattern {
    pub(super) const ALL: [Self; 2] = [Self::Same, Self::Other];

    fn name(self) -> &'static str {
        match self {
            Self::Same => "same name",
            Self::Other => "other names",
        }
    }
}

/// What was measured: a contestant, with some Services, in one pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) contestant: Contestant,
    pub(super) services: usize,
    pub(super) pattern: Pattern,
}

/// For how long one contestant's Envoy ran in one turn. The samples of a question are in the order of the rounds.
pub(super) struct Sample {
    pub(super) question: Question,
    pub(super) nanoseconds: u64,
}

impl Question {
    fn of(self, contestant: Contestant) -> Self {
        Self { contestant, ..self }
    }
}

/// A run.
pub(super) struct Report {
    samples: Vec<Sample>,
    requests: usize,
    connections: usize,
    module_bytes: u64,
}

impl Report {
    pub(super) fn new(samples: Vec<Sample>, module_bytes: u64, requests: usize, connections: usize) -> Self {
        Self { samples, requests, connections, module_bytes }
    }

    /// CPU microseconds of a request in each round.
    fn micros(&self, question: Question) -> Vec<f64> {
        let samples = self.samples.iter().filter(|sample| sample.question == question);
        samples.map(|sample| sample.nanoseconds as f64 / 1_000.0 / self.requests as f64).collect()
    }

    /// What a contestant adds to a request, above the Envoy without a filter in the same round.
    fn added(&self, question: Question) -> Vec<f64> {
        let none = self.micros(question.of(Contestant::None));
        self.micros(question).iter().zip(none).map(|(micros, none)| micros - none).collect()
    }

    /// What `one` adds as a part of what `other` adds, round by round; `None` where there are no such samples.
    fn ratio(&self, one: Question, other: Question) -> Option<f64> {
        let (one, other) = (self.added(one), self.added(other));
        let ratios: Vec<f64> = one.iter().zip(other).map(|(one, other)| one / other).collect();
        (!ratios.is_empty()).then(|| quartiles(ratios)[1])
    }

    fn questions(&self) -> Vec<Question> {
        let mut services: Vec<usize> = self.samples.iter().map(|sample| sample.question.services).collect();
        services.sort_unstable();
        services.dedup();
        let mut questions = Vec::new();
        for services in services {
            for pattern in Pattern::ALL {
                questions.extend(ALL.map(|contestant| Question { contestant, services, pattern }));
            }
        }
        questions
    }

    /// How many rounds there were.
    fn rounds(&self) -> usize {
        self.questions().first().map_or(0, |question| self.micros(*question).len())
    }

    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["Services", "asked", "contestant", "µs", "added µs", "quartiles", "÷ lua", "÷ noop"]);
        for column in [0, 3, 4, 5, 6, 7] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for question in self.questions() {
            let is = question.contestant;
            let [_, whole, _] = quartiles(self.micros(question));
            let [low, added, high] = quartiles(self.added(question));
            let adds = |text: String| if is == Contestant::None { String::new() } else { text };
            let ratio = |to| match self.ratio(question, question.of(to)) {
                Some(ratio) if is != to => adds(format!("{ratio:.2}")),
                _ => String::new(),
            };
            table.add_row([
                question.services.to_string(),
                question.pattern.name().to_owned(),
                is.name().to_owned(),
                format!("{whole:.1}"),
                adds(format!("{added:.1}")),
                adds(format!("{low:.1} .. {high:.1}")),
                ratio(Contestant::Lua),
                ratio(Contestant::Noop),
            ]);
        }
        let (rounds, requests, connections) = (self.rounds(), self.requests, self.connections);
        println!(
            "CPU time of Envoy for a request, in microseconds: medians of {rounds} rounds of {requests} requests each,"
        );
        println!("over {connections} connections. What is added, and its ratios: against `none` in the same round.\n");
        println!("{table}\n");
        let ratios = self.ratios();
        let number = |ratio| match ratios[ratio].as_f64() {
            Some(ratio) => format!("{ratio:.2}"),
            None => "not measured, 10,000 were left out".to_owned(),
        };
        println!("byname-cluster with {SERVICES} Services, other names, adds as a multiple of");
        println!("  what Lua adds:                         {}", number("cpuVsLua"));
        println!("  what a filter that does nothing adds:  {}", number("cpuVsNoop"));
        println!("  and with 10,000 of what it does with 10: {}", number("cpu10kVs10"));
        println!("The module has {} bytes.", self.module_bytes);
    }

    fn ratios(&self) -> Value {
        let byname = |services| Question { contestant: Contestant::Cluster, services, pattern: Pattern::Other };
        let typical = byname(SERVICES);
        json!({
            "cpuVsLua": self.ratio(typical, typical.of(Contestant::Lua)),
            "cpuVsNoop": self.ratio(typical, typical.of(Contestant::Noop)),
            "cpu10kVs10": self.ratio(byname(10_000), byname(10)),
            "moduleBytes": self.module_bytes,
        })
    }

    /// Writes all there is.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let result = |question: Question| {
            let round = |micros: f64| (micros * 1_000.0).round() / 1_000.0;
            json!({
                "contestant": question.contestant.name(),
                "services": question.services,
                "asked": question.pattern.name(),
                "addedMicrosQuartiles": quartiles(self.added(question)).map(round),
                "cpuMicrosByRound": self.micros(question).into_iter().map(round).collect::<Vec<_>>(),
            })
        };
        let report = json!({
            "ratios": self.ratios(),
            "requestsPerRound": self.requests,
            "connections": self.connections,
            "results": self.questions().into_iter().map(result).collect::<Vec<_>>(),
        });
        fs::write(path, format!("{report}\n"))?;
        println!("Every round is in {}.", path.display());
        Ok(())
    }
}

/// The quartiles of some numbers; of none they are no numbers.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_unstable_by(f64::total_cmp);
    let last = numbers.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        // Between two numbers it is as far along as its place is.
        let (low, part) = (last * quarter / 4, (last * quarter % 4) as f64 / 4.0);
        let at = |index: usize| numbers.get(index.min(last)).copied().unwrap_or(f64::NAN);
        at(low) + (at(low + 1) - at(low)) * part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_numbers() {
        assert_eq!(quartiles(vec![7.0]), [7.0, 7.0, 7.0]);
        assert_eq!(quartiles(vec![4.0, 2.0]), [2.5, 3.0, 3.5]);
        assert_eq!(quartiles(vec![5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert!(quartiles(Vec::new()).iter().all(|number| number.is_nan()));
    }

    #[test]
    fn what_is_added_is_compared_round_by_round() {
        let sample = |contestant, nanoseconds| Sample {
            question: Question { contestant, services: SERVICES, pattern: Pattern::Other },
            nanoseconds,
        };
        let mut samples = Vec::new();
        // The second round is twice as slow in everything, as on a machine that is busy.
        for slow in [1, 2] {
            samples.push(sample(Contestant::None, 30_000 * slow));
            samples.push(sample(Contestant::Lua, 40_000 * slow));
            samples.push(sample(Contestant::Cluster, 35_000 * slow));
        }
        let ratios = Report::new(samples, 5, 1, 1).ratios();
        assert_eq!(ratios["cpuVsLua"], 0.5);
        assert_eq!(ratios["cpuVsNoop"], Value::Null);
        assert_eq!(ratios["cpu10kVs10"], Value::Null);
    }
}

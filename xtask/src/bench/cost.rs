//! The CPU time that each contestant adds to a request.

use serde_json::{Value, json};

use super::{
    contestant::{ALL, Contestant},
    numbers::{quartiles, round, table},
    traffic::Traffic,
};

/// The number of Services for the main ratios.
const SERVICES: usize = 10_000;
/// The smallest number of Services.
const FEW: usize = 10;

/// A measured case: a contestant with a number of Services under one kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) contestant: Contestant,
    pub(super) services: usize,
    pub(super) traffic: Traffic,
}

/// The CPU time of one contestant's Envoy in one turn. The samples of a question are in the order of the rounds.
pub(super) struct Sample {
    pub(super) question: Question,
    pub(super) nanoseconds: u64,
}

impl Question {
    fn of(self, contestant: Contestant) -> Self {
        Self { contestant, ..self }
    }
}

/// All samples of a run.
pub(super) struct Costs {
    pub(super) samples: Vec<Sample>,
    pub(super) requests: usize,
    pub(super) connections: usize,
}

impl Costs {
    /// The CPU microseconds per request in each round.
    fn micros(&self, question: Question) -> Vec<f64> {
        let samples = self.samples.iter().filter(|sample| sample.question == question);
        samples.map(|sample| sample.nanoseconds as f64 / 1_000.0 / self.requests as f64).collect()
    }

    /// The CPU time that a contestant adds per request, above the Envoy without a filter in the same round.
    fn added(&self, question: Question) -> Vec<f64> {
        let none = self.micros(question.of(Contestant::None));
        self.micros(question).iter().zip(none).map(|(micros, none)| micros - none).collect()
    }

    /// The quartiles of `one`'s added time divided by `other`'s, round by round; `None` without samples.
    fn ratio(&self, one: Question, other: Question) -> Option<[f64; 3]> {
        let (one, other) = (self.added(one), self.added(other));
        let ratios: Vec<f64> = one.iter().zip(other).map(|(one, other)| one / other).collect();
        (!ratios.is_empty()).then(|| quartiles(ratios))
    }

    fn questions(&self) -> Vec<Question> {
        let mut services: Vec<usize> = self.samples.iter().map(|sample| sample.question.services).collect();
        services.sort_unstable();
        services.dedup();
        let is_asked = |traffic: &Traffic| self.samples.iter().any(|sample| sample.question.traffic == *traffic);
        let mut questions = Vec::new();
        for services in services {
            for traffic in Traffic::ALL.into_iter().filter(is_asked) {
                questions.extend(ALL.map(|contestant| Question { contestant, services, traffic }));
            }
        }
        questions
    }

    /// The number of rounds.
    fn rounds(&self) -> usize {
        self.questions().first().map_or(0, |question| self.micros(*question).len())
    }

    /// The ratios of byname by cluster to Lua, to a filter that does nothing, and to itself with few Services.
    pub(super) fn ratios(&self, traffic: Traffic) -> [(&'static str, Option<[f64; 3]>); 3] {
        let byname = |services| Question { contestant: Contestant::Cluster, services, traffic };
        let typical = byname(SERVICES);
        [
            ("cpuVsLua", self.ratio(typical, typical.of(Contestant::Lua))),
            ("cpuVsNoop", self.ratio(typical, typical.of(Contestant::Noop))),
            ("cpu10kVs10", self.ratio(typical, byname(FEW))),
        ]
    }

    pub(super) fn print(&self) {
        let headings = ["Services", "asked", "contestant", "µs", "added µs", "quartiles", "÷ lua", "÷ noop"];
        let mut table = table(headings, &[1, 2]);
        for question in self.questions() {
            let is = question.contestant;
            let [_, whole, _] = quartiles(self.micros(question));
            let [low, added, high] = quartiles(self.added(question));
            let adds = |text: String| if is == Contestant::None { String::new() } else { text };
            let ratio = |to| match self.ratio(question, question.of(to)) {
                Some([_, ratio, _]) if is != to => adds(format!("{ratio:.2}")),
                _ => String::new(),
            };
            table.add_row([
                question.services.to_string(),
                question.traffic.name().to_owned(),
                is.name().to_owned(),
                format!("{whole:.1}"),
                adds(format!("{added:.1}")),
                adds(format!("{low:.1} .. {high:.1}")),
                ratio(Contestant::Lua),
                ratio(Contestant::Noop),
            ]);
        }
        let (rounds, requests, connections) = (self.rounds(), self.requests, self.connections);
        println!("CPU time of Envoy for a request: medians of {rounds} rounds of {requests} requests each, over");
        println!("{connections} connections. What is added, and its ratios: against `none` in the same round.");
        println!("{table}\n");
    }

    /// Every round.
    pub(super) fn json(&self) -> Value {
        let result = |question: Question| {
            json!({
                "contestant": question.contestant.name(),
                "services": question.services,
                "asked": question.traffic.name(),
                "addedMicrosQuartiles": quartiles(self.added(question)).map(round),
                "cpuMicrosByRound": self.micros(question).into_iter().map(round).collect::<Vec<_>>(),
            })
        };
        let by_traffic = Traffic::ALL.map(|traffic| {
            let ratios = self
                .ratios(traffic)
                .map(|(name, ratio)| (name.to_owned(), json!(ratio.map(|[_, ratio, _]| round(ratio)))));
            (traffic.name().to_owned(), Value::Object(ratios.into_iter().collect()))
        });
        json!({
            "requestsPerRound": self.requests,
            "connections": self.connections,
            "ratiosByTraffic": Value::Object(by_traffic.into_iter().collect()),
            "results": self.questions().into_iter().map(result).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_time_is_compared_round_by_round() {
        let sample = |contestant, nanoseconds| Sample {
            question: Question { contestant, services: SERVICES, traffic: Traffic::Other },
            nanoseconds,
        };
        let mut samples = Vec::new();
        // The second round is twice as slow in everything, as on a busy machine.
        for slow in [1, 2] {
            samples.push(sample(Contestant::None, 30_000 * slow));
            samples.push(sample(Contestant::Lua, 40_000 * slow));
            samples.push(sample(Contestant::Cluster, 35_000 * slow));
        }
        let costs = Costs { samples, requests: 1, connections: 1 };
        let [vs_lua, vs_noop, vs_few] = costs.ratios(Traffic::Other);
        assert_eq!(vs_lua, ("cpuVsLua", Some([0.5; 3])));
        assert_eq!((vs_noop.1, vs_few.1), (None, None));
        assert_eq!(costs.ratios(Traffic::Post)[0].1, None, "other traffic is another question");
    }
}

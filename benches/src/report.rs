//! Samples as a table for people and as JSON for programs.

use serde_json::{Value, json};

use crate::contest::Contest;
use crate::weigh::{Fact, Weight};

/// The table.
pub fn table(contests: &[Contest], weights: &[Weight], facts: &[Fact]) -> String {
    let mut text = String::new();
    for contest in contests {
        text.push_str(&format!("\n{}\n", contest.work));
        text.push_str(&format!(
            "  {:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "", "min ms", "median", "× floor", "× docker", "cpu min", "cpu med"
        ));
        for (name, samples) in &contest.samples {
            let ratio = |to| {
                ratio_of_pairs(samples, sampled(contest, to)).map_or(String::new(), |r| format!("{r:.2}"))
            };
            text.push_str(&format!(
                "  {name:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
                millis(samples.iter().copied().min()),
                millis(median(samples)),
                ratio("floor"),
                ratio("docker"),
                millis(used(contest, name).iter().copied().min()),
                millis(median(used(contest, name))),
            ));
        }
        for (name, why) in &contest.absent {
            text.push_str(&format!(
                "  {name:<14}did not take part: {}\n",
                why.lines().next().unwrap_or_default()
            ));
        }
    }
    if !facts.is_empty() {
        text.push_str("\nfigures\n");
    }
    for fact in facts {
        text.push_str(&format!("  {:<70}{:>10.2} {}\n", fact.name, fact.value, fact.unit));
    }
    if !weights.is_empty() {
        text.push_str("\nweight\n");
    }
    for weight in weights {
        text.push_str(&format!("  {:<44}{:>12} kB\n", weight.name, weight.bytes / 1000));
    }
    text
}

/// All figures, the samples included.
pub fn json(contests: &[Contest], weights: &[Weight], facts: &[Fact], rounds: usize) -> Value {
    let contests: Vec<Value> = contests
        .iter()
        .map(|contest| {
            let contestants: Vec<Value> = contest
                .samples
                .iter()
                .map(|(name, samples)| {
                    json!({
                        "name": name, "samples_ns": samples, "min_ns": samples.iter().min(), "median_ns": median(samples),
                        "cpu_ns": used(contest, name),
                        "ratio_to_floor": ratio_of_pairs(samples, sampled(contest, "floor")),
                        "ratio_to_docker": ratio_of_pairs(samples, sampled(contest, "docker")),
                    })
                })
                .collect();
            json!({"work": contest.work, "contestants": contestants, "absent": contest.absent})
        })
        .collect();
    let weights: Vec<Value> =
        weights.iter().map(|weight| json!({"name": weight.name, "bytes": weight.bytes})).collect();
    let facts: Vec<Value> =
        facts.iter().map(|fact| json!({"name": fact.name, "value": fact.value, "unit": fact.unit})).collect();
    json!({"rounds": rounds, "contests": contests, "figures": facts, "weights": weights})
}

/// The median of the ratios turn by turn: what disturbed the machine disturbed both of a pair.
fn ratio_of_pairs(samples: &[u64], to: &[u64]) -> Option<f64> {
    let mut ratios: Vec<f64> = samples.iter().zip(to).map(|(a, b)| *a as f64 / (*b).max(1) as f64).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

fn sampled<'a>(contest: &'a Contest, name: &str) -> &'a [u64] {
    contest.samples.iter().find(|(other, _)| *other == name).map_or(&[], |(_, samples)| samples)
}

fn used<'a>(contest: &'a Contest, name: &str) -> &'a [u64] {
    contest.cpu.iter().find(|(other, _)| *other == name).map_or(&[], |(_, samples)| samples)
}

fn median(samples: &[u64]) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

fn millis(nanos: Option<u64>) -> String {
    nanos.map_or("-".to_string(), |nanos| format!("{:.2}", nanos as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_pairs() {
        assert_eq!(ratio_of_pairs(&[20, 400, 30], &[10, 200, 10]), Some(2.0));
        assert_eq!(ratio_of_pairs(&[20], &[]), None);
        assert_eq!(median(&[3, 1, 2]), Some(2));
    }

    #[test]
    fn a_table_names_who_was_absent() {
        let contest = Contest {
            work: "w",
            samples: vec![("floor", vec![1_000_000]), ("tare", vec![3_000_000])],
            cpu: vec![("tare", vec![7_000_000])],
            absent: vec![("podman", "not found".into())],
        };
        let facts = [Fact::new("each", 1.5, "ms")];
        let text = table(&[contest], &[Weight { name: "shim".into(), bytes: 250_000 }], &facts);
        for sign in ["3.00", "7.00", "podman", "not found", "250 kB", "1.50 ms"] {
            assert!(text.contains(sign), "{text}");
        }
    }
}

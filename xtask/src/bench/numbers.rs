//! Summary statistics, and tables of them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The quartiles of `numbers`; NaN if there are none.
pub(super) fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_unstable_by(f64::total_cmp);
    let last = numbers.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        // Linear interpolation between neighbours.
        let (low, part) = (last * quarter / 4, (last * quarter % 4) as f64 / 4.0);
        let at = |index: usize| numbers.get(index.min(last)).copied().unwrap_or(f64::NAN);
        at(low) + (at(low + 1) - at(low)) * part
    })
}

/// The median of `numbers`.
pub(super) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    quartiles(numbers.into_iter().collect())[1]
}

/// The quantile at `part` of sorted numbers.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Rounds to three decimal places.
pub(super) fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// A table with these headings. Columns are aligned to the right, except for the columns of `words`.
pub(super) fn table<const N: usize>(headings: [&str; N], words: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for column in (0..N).filter(|column| !words.contains(column)) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
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
    fn a_quantile_is_one_of_the_numbers() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| quantile(&sorted, part)), [100.0, 198.0, 200.0]);
        assert_eq!(quantile(&[3.0], 0.5), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}

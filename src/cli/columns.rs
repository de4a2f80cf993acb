//! Text in columns, as Go's `tabwriter` lines it up: cells end in a tab, and a column is as wide as
//! its widest cell among lines that follow each other.

/// Lines with tabs, lined up: columns are at least `least` wide, and `gap` stand between them.
pub fn align(lines: &[String], least: usize, gap: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> =
        lines.iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let ends = |row: &Vec<String>| row.len() > column + 1;
        let mut from = 0;
        while let Some(first) = rows.iter().skip(from).position(ends).map(|at| from + at) {
            let count = rows.iter().skip(first).take_while(|row| ends(row)).count();
            pad(&mut rows, first, count, column, (least, gap));
            from = first + count;
        }
    }
    rows.into_iter().map(|row| row.concat()).collect()
}

/// Makes the cells of one column in a block of lines equally wide.
fn pad(
    rows: &mut [Vec<String>],
    first: usize,
    count: usize,
    column: usize,
    (least, gap): (usize, usize),
) {
    let cells = rows.iter_mut().skip(first).take(count).filter_map(|row| row.get_mut(column));
    let mut cells: Vec<&mut String> = cells.collect();
    let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let width = least.max(widest + gap);
    for cell in &mut cells {
        let missing = width.saturating_sub(cell.chars().count());
        cell.extend(std::iter::repeat_n(' ', missing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = ["a\tb\tc", "long\tx", "no tabs", "a\tb"].map(str::to_owned);
        assert_eq!(align(&lines, 1, 1), ["a    b c", "long x", "no tabs", "a b"]);
    }
}

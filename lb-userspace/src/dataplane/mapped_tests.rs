//! Windows over a file; over the daemon's they are in `tests/e2e/memory.rs`.

use super::*;

const WORDS: usize = WINDOW / 8;

fn is_mapped(table: &Mapped) -> Vec<bool> {
    table.windows.iter().map(|window| window.get().is_some()).collect()
}

/// Addresses of the mappings of this table's file, as the kernel lists them.
fn listed(table: &Mapped) -> usize {
    let inode = std::fs::read_link(format!("/proc/self/fd/{}", table.map.as_raw_fd())).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(inode.to_str().unwrap())).count()
}

#[test]
fn what_is_looked_at_is_mapped_until_nobody_looks() {
    let mut table = Mapped::of_file(3 * WORDS + 8);
    table.unmap();
    assert_eq!((is_mapped(&table), listed(&table)), (vec![false; 4], 0));
    for (at, value) in [(0, 7), (WORDS - 1, 8), (2 * WORDS, 9), (3 * WORDS + 7, 10)] {
        table.word(at).unwrap().store(value, Ordering::Relaxed);
    }
    assert_eq!((is_mapped(&table), listed(&table)), (vec![true, false, true, true], 3));
    table.unmap();
    assert_eq!((is_mapped(&table), listed(&table)), (vec![false; 4], 0));
    assert_eq!(table.read::<u64>((WORDS - 1) as u32), Some(8));
    assert_eq!((is_mapped(&table), listed(&table)), (vec![true, false, false, false], 1));
    let sum: u64 = table.parts().flatten().map(|word| word.load(Ordering::Relaxed)).sum();
    assert_eq!((sum, table.parts().map(<[_]>::len).sum::<usize>()), (34, table.word_count()));
}

#[test]
fn a_table_of_one_window_stays_mapped() {
    let mut table = Mapped::of_file(WORDS);
    table.unmap();
    assert_eq!((is_mapped(&table), listed(&table)), (vec![true], 1));
}

#[test]
fn words_end_with_the_table_and_stand_in_one_window() {
    let table = Mapped::of_file(WORDS + 2);
    for (first, count, there) in
        [(0, 4, 4), (WORDS - 4, 4, 4), (WORDS - 4, 5, 0), (WORDS, 2, 2), (WORDS, 3, 0), (WORDS + 2, 1, 0)]
    {
        assert_eq!(table.words(first, count).len(), there, "{count} words from {first}");
    }
    assert!(table.word(WORDS + 2).is_none() && table.value(u32::MAX).is_empty());
    assert!(!table.write((WORDS + 2) as u32, &5u64) && table.read::<u64>((WORDS + 2) as u32).is_none());
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(Mapped::over(file.into(), (24, WORDS as u32)).is_err(), "a value would stand in two windows");
}

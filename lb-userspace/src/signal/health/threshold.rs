//! From single answers to a state: rise and fall thresholds. Pure.

use super::HealthState;

/// Counts answers in a row.
#[derive(Debug)]
pub(super) struct Thresholds {
    state: HealthState,
    rise: u32,
    fall: u32,
    /// Answers in a row that speak against the state.
    against: u32,
}

impl Thresholds {
    /// Starts in `state`; a threshold of 0 counts as 1.
    pub(super) fn new(state: HealthState, rise: u32, fall: u32) -> Self {
        Self { state, rise: rise.max(1), fall: fall.max(1), against: 0 }
    }

    /// Takes in one answer and gives the state after it.
    ///
    /// From `Unknown` the first good answer decides: there is no flapping that `rise` could protect from, and a new
    /// real server is in service that much sooner. Bad answers need `fall` in a row there, too: after a restart of the
    /// daemon an unknown real server may be carrying traffic, and one lost packet must not end that.
    pub(super) fn observe(&mut self, good: bool) -> HealthState {
        let (other, threshold) = match (self.state, good) {
            (HealthState::Unknown, true) => (HealthState::Up, 1),
            (HealthState::Down, true) => (HealthState::Up, self.rise),
            (HealthState::Unknown | HealthState::Up, false) => (HealthState::Down, self.fall),
            (HealthState::Up, true) | (HealthState::Down, false) => {
                self.against = 0;
                return self.state;
            }
        };
        self.against += 1;
        if self.against >= threshold {
            self.state = other;
            self.against = 0;
        }
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::HealthState::{Down, Unknown, Up};
    use super::*;

    /// Feeds answers (`+` good, `-` bad) and collects the states.
    fn states(start: HealthState, rise: u32, fall: u32, answers: &str) -> Vec<HealthState> {
        let mut thresholds = Thresholds::new(start, rise, fall);
        answers.chars().map(|answer| thresholds.observe(answer == '+')).collect()
    }

    #[test]
    fn the_first_good_answer_decides_from_unknown() {
        assert_eq!(states(Unknown, 3, 3, "+"), [Up]);
    }

    #[test]
    fn bad_answers_from_unknown_need_the_fall_threshold() {
        assert_eq!(states(Unknown, 2, 3, "---"), [Unknown, Unknown, Down]);
        assert_eq!(states(Unknown, 2, 3, "--+"), [Unknown, Unknown, Up]);
    }

    #[test]
    fn rise_and_fall_count_answers_in_a_row() {
        assert_eq!(states(Up, 2, 3, "--+---"), [Up, Up, Up, Up, Up, Down]);
        assert_eq!(states(Down, 2, 3, "+-++"), [Down, Down, Down, Up]);
        assert_eq!(states(Up, 2, 3, "---++"), [Up, Up, Down, Down, Up]);
    }

    #[test]
    fn zero_counts_as_one() {
        assert_eq!(states(Up, 0, 0, "-+"), [Down, Up]);
    }
}

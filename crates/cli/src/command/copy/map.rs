//! Which offset of a source became which of its target.

use tidings_terminal::failure::Failure;

use super::notes::{Notes, Step};
use super::runs::Runs;

/// Of one partition; the runs of one step are kept, as offsets are asked for in order.
#[derive(Debug)]
pub(super) struct Map<'n> {
    notes: &'n Notes,
    steps: &'n [Step],
    runs: Option<(i64, Runs)>,
}

impl Step {
    fn records(&self) -> i64 {
        self.target.1 - self.target.0
    }
}

impl<'n> Map<'n> {
    pub(super) fn of(notes: &'n Notes, steps: &'n [Step]) -> Self {
        Self { notes, steps, runs: None }
    }

    /// Where the record of this offset went.
    pub(super) async fn exact(&mut self, source: i64) -> Result<Option<i64>, Failure> {
        let index = self.steps.partition_point(|step| step.source.1 <= source);
        match self.steps.get(index) {
            Some(step) if step.source.0 <= source => {
                let (before, has_record) = self.place(*step, source).await?;
                Ok(has_record.then_some(step.target.0 + before))
            }
            _ => Ok(None),
        }
    }

    /// Where the first record at or after this offset went; none when no such has been copied.
    pub(super) async fn at_or_after(&mut self, source: i64) -> Result<Option<i64>, Failure> {
        let index = self.steps.partition_point(|step| step.source.1 <= source);
        for step in &self.steps[index..] {
            let before =
                if source <= step.source.0 { 0 } else { self.place(*step, source).await?.0 };
            if before < step.records() {
                return Ok(Some(step.target.0 + before));
            }
        }
        Ok(None)
    }

    /// Whether a record of the target was put there by this copy.
    pub(super) fn holds(&self, target: i64) -> bool {
        let index = self.steps.partition_point(|step| step.target.1 <= target);
        self.steps.get(index).is_some_and(|step| step.target.0 <= target)
    }

    async fn place(&mut self, step: Step, source: i64) -> Result<(i64, bool), Failure> {
        let offset = source - step.source.0;
        let Some(at) = step.runs_at else {
            return Ok(Runs::default().place(offset, step.records()));
        };
        if self.runs.as_ref().is_none_or(|(held, _)| *held != at) {
            self.runs = Some((at, self.notes.runs(at).await?));
        }
        let runs = self.runs.as_ref().map(|(_, runs)| runs.place(offset, step.records()));
        Ok(runs.expect("they were put there just now"))
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::{Engine, NewTopic};

    use super::*;
    use crate::command::copy::notes::{Note, Noted};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn offsets_become_those_of_the_same_record_and_never_later_ones() {
        let engine = Engine::in_memory().await.unwrap();
        let notes = Notes::of(&engine, "x");
        let made = NewTopic { partitions: Some(1), ..NewTopic::kept(&notes.topic) };
        engine.create_topic(made).await.unwrap();
        // 13, 14 and 18 are the second step's records; the third has none; 20 to 29 went by retention.
        let noted = Noted {
            topic: "t".to_owned(),
            partition: 0,
            source: (12, 20),
            target: (103, 106),
            runs: [1, 2, 6].into_iter().collect(),
        };
        let record = Note::Step(noted).to_record(&notes.topic);
        let at = engine.producer().await.unwrap().send(vec![record]).await.unwrap()[0].offset;
        let step = |source, target, runs_at| Step { source, target, runs_at };
        let steps = [
            step((10, 12), (100, 102), None),
            step((12, 20), (103, 106), Some(at)),
            step((20, 30), (107, 107), None),
            step((40, 42), (108, 110), None),
        ];
        let mut map = Map::of(&notes, &steps);
        let table = [
            (5, None, Some(100)),
            (10, Some(100), Some(100)),
            (11, Some(101), Some(101)),
            (12, None, Some(103)),
            (13, Some(103), Some(103)),
            (14, Some(104), Some(104)),
            (15, None, Some(105)),
            (18, Some(105), Some(105)),
            (19, None, Some(108)),
            (25, None, Some(108)),
            (41, Some(109), Some(109)),
            (42, None, None),
            (99, None, None),
        ];
        for (source, exact, at_or_after) in table {
            assert_eq!(map.exact(source).await.unwrap(), exact, "{source}");
            assert_eq!(map.at_or_after(source).await.unwrap(), at_or_after, "{source}");
        }
        let held: Vec<i64> = (98..112).filter(|target| map.holds(*target)).collect();
        assert_eq!(held, [100, 101, 103, 104, 105, 108, 109]);
    }
}

//! A batch as one source tells it, part by part, and two of them side by side.

use serde_json::{Map, Value};
use sheaf_protocol::field::{Word, to_hex};
use sheaf_store::batches::Computed;

/// Names of the words of a record, in order.
const RECORD: [&str; 18] = [
    "number",
    "circuit",
    "old_root",
    "key.x",
    "key.y",
    "dyn.x",
    "dyn.y",
    "owner.x",
    "owner.y",
    "h",
    "queue_digest",
    "taken",
    "ops_hash",
    "data_hash",
    "cq.x",
    "cq.y",
    "y_da",
    "y_ops",
];

/// What one source says of a batch.
pub(super) struct Account {
    /// `derived`, `stored` or `posted`.
    of: &'static str,
    parts: Vec<(String, String)>,
}

/// One part as two sources tell it.
pub(super) struct Line {
    name: String,
    said: [(&'static str, String); 2],
}

impl Account {
    pub(super) fn new(of: &'static str) -> Self {
        Self { of, parts: Vec::new() }
    }

    /// A batch as the committer computes it.
    pub(super) fn computed(of: &'static str, computed: &Computed) -> Self {
        let mut account = Self::new(of);
        account.record(&computed.record).proof(&computed.claims, &computed.opening).word("new_root", &computed.new_root);
        account.bytes("posted_data", &computed.posted_data).bytes("choices", &computed.choices.concat());
        account.bytes("ops_words", &computed.ops_words.concat()).part("prover's input", computed.input.to_string());
        account
    }

    pub(super) fn part(&mut self, name: &str, said: String) -> &mut Self {
        self.parts.push((name.to_owned(), said));
        self
    }

    pub(super) fn bytes(&mut self, name: &str, said: &[u8]) -> &mut Self {
        self.part(name, to_hex(said))
    }

    pub(super) fn word(&mut self, name: &str, said: &Word) -> &mut Self {
        self.bytes(name, said)
    }

    pub(super) fn record(&mut self, words: &[Word]) -> &mut Self {
        RECORD.iter().zip(words).fold(self, |account, (name, word)| account.word(name, word))
    }

    pub(super) fn proof(&mut self, claims: &[Word; 3], opening: &[Word; 2]) -> &mut Self {
        let names = ["E", "Z", "Delta", "opening.x", "opening.y"];
        names.iter().zip(claims.iter().chain(opening)).fold(self, |account, (name, word)| account.word(name, word))
    }

    /// Every part that both tell.
    pub(super) fn beside(&self, other: &Self) -> Vec<Line> {
        let line = |(name, said): &(String, String)| {
            let (_, others) = other.parts.iter().find(|(theirs, _)| theirs == name)?;
            Some(Line { name: name.clone(), said: [(self.of, said.clone()), (other.of, others.clone())] })
        };
        self.parts.iter().filter_map(line).collect()
    }
}

impl Line {
    pub(super) fn is_same(&self) -> bool {
        self.said[0].1 == self.said[1].1
    }

    /// What differs, for an error.
    pub(super) fn name(&self) -> String {
        let [(left, _), (right, _)] = &self.said;
        format!("{} ({left} and {right})", self.name)
    }

    pub(super) fn json(&self) -> Value {
        let mut line: Map<String, Value> = self.said.iter().map(|(of, said)| ((*of).to_owned(), said.clone().into())).collect();
        line.insert("name".to_owned(), self.name.clone().into());
        line.insert("same".to_owned(), self.is_same().into());
        line.into()
    }

    pub(super) fn print(&self) {
        let [(left, said), (right, other)] = &self.said;
        if self.is_same() {
            println!("{:14} same     {}", self.name, shortened(said));
        } else {
            println!("{:14} DIFFERS  {left:8} {}", self.name, shortened(said));
            println!("{:23}  {right:8} {}", "", shortened(other));
        }
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 66;
    if text.len() <= SHOWN { text.to_owned() } else { format!("{}… ({} characters)", text.get(..SHOWN).unwrap_or(text), text.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computed() -> Computed {
        let word = |n: u8| [n; 32];
        Computed {
            number: 7,
            record: (0..18).map(word).collect(),
            new_root: word(20),
            opening: [word(21), word(22)],
            claims: [word(23), word(24), word(25)],
            posted_data: vec![1, 2, 3],
            choices: vec![word(26)],
            ops_words: vec![word(27), word(28)],
            input: serde_json::json!({ "batch": 7 }),
            slots: vec![],
        }
    }

    /// Whatever is changed is the one part that differs, by its name.
    #[test]
    fn every_part_that_differs_is_named() {
        type Edit = fn(&mut Computed);
        let edits: [(&str, Edit); 9] = [
            ("number", |batch| batch.record[0][31] ^= 1),
            ("h", |batch| batch.record[9][0] ^= 1),
            ("y_ops", |batch| batch.record[17][3] ^= 1),
            ("new_root", |batch| batch.new_root[9] ^= 1),
            ("opening.y", |batch| batch.opening[1][9] ^= 1),
            ("Delta", |batch| batch.claims[2][9] ^= 1),
            ("posted_data", |batch| batch.posted_data.push(0)),
            ("choices", |batch| batch.choices.clear()),
            ("prover's input", |batch| batch.input = Value::Null),
        ];
        let honest = Account::computed("derived", &computed());
        assert!(honest.beside(&Account::computed("stored", &computed())).iter().all(Line::is_same));
        for (name, edit) in edits {
            let mut other = computed();
            edit(&mut other);
            let lines = honest.beside(&Account::computed("stored", &other));
            let differing: Vec<String> = lines.iter().filter(|line| !line.is_same()).map(Line::name).collect();
            assert_eq!((lines.len(), differing), (28, vec![format!("{name} (derived and stored)")]));
        }
    }
}

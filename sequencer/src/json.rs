//! Strict JSON of transactions: every number is a decimal string, every field is known and comes once.
//!
//! Read into a tree of our own first, because a general parser hides what must be refused by name: duplicate fields, numbers that are not strings.

use crate::problem::{Code, Problem, echo};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, Nonce, SLOT_BITS, SlotId, TokenId, WHOLE_AMOUNT_BITS, parse_decimal};
use sheaf_protocol::field::{Fr, from_hex, from_word};
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, RecordError, Register, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::Signature;
use std::fmt;

/// Fields of a transfer.
pub(crate) const TRANSFER_FIELDS: &[&str] = &["op", "from", "to", "token", "nonce", "amount", "fee", "signature"];
/// Fields of a withdrawal.
pub(crate) const WITHDRAW_FIELDS: &[&str] = &["op", "from", "token", "nonce", "fee", "amount", "address", "signature"];

/// Fields of a register.
pub(crate) const REGISTER_FIELDS: &[&str] = &["op", "from", "token", "nonce", "fee", "key", "owner", "account_token", "signature"];

/// A JSON text as it stands, duplicates and order included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Number,
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }
}

/// Reads a body.
///
/// # Errors
/// [`Code::MalformedJson`].
pub(crate) fn parse(body: &[u8]) -> Result<Json, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))
}

/// Reads a signed operation.
///
/// # Errors
/// [`Problem`], naming the field.
pub(crate) fn signed_op(json: &Json) -> Result<SignedOp, Problem> {
    let Json::Object(fields) = json else {
        return Err(Problem::new(Code::MalformedJson, "a transaction is a JSON object"));
    };
    let fields = Fields(fields);
    fields.check_known(&[TRANSFER_FIELDS, WITHDRAW_FIELDS, REGISTER_FIELDS])?;
    fields.check_unique()?;
    match fields.text("op")? {
        "transfer" => {
            fields.check_known(&[TRANSFER_FIELDS])?;
            signed(&fields, Op::Transfer(transfer(&fields)?))
        }
        "withdraw" => {
            fields.check_known(&[WITHDRAW_FIELDS])?;
            signed(&fields, Op::Withdraw(withdraw(&fields)?))
        }
        "register" => {
            fields.check_known(&[REGISTER_FIELDS])?;
            signed(&fields, Op::Register(register(&fields)?))
        }
        other => Err(Problem::new(Code::UnknownOperation, format!("there is no operation {:?}", echo(other)))
            .field("op")
            .hint("transfer, withdraw or register")),
    }
}

fn signed(fields: &Fields<'_>, op: Op) -> Result<SignedOp, Problem> {
    let signature = Signature::from_bytes(&fields.bytes("signature")?)?;
    Ok(SignedOp { op, signature })
}

fn transfer(fields: &Fields<'_>) -> Result<Transfer, Problem> {
    Ok(Transfer {
        from: fields.slot("from")?,
        to: fields.slot("to")?,
        token: fields.token("token")?,
        nonce: fields.nonce()?,
        amount: AmountFloat::from_amount(Amount(fields.number("amount", 128)?)).map_err(|error| Problem::number("amount", &error))?,
        fee: fields.fee()?,
    })
}

fn withdraw(fields: &Fields<'_>) -> Result<Withdraw, Problem> {
    Ok(Withdraw {
        from: fields.slot("from")?,
        token: fields.token("token")?,
        nonce: fields.nonce()?,
        fee: fields.fee()?,
        amount: Amount(fields.number("amount", WHOLE_AMOUNT_BITS)?),
        address: Address(fields.bytes("address")?),
    })
}

fn register(fields: &Fields<'_>) -> Result<Register, Problem> {
    let account = Triple { key: fields.key()?, owner: Address(fields.bytes("owner")?), token: fields.token("account_token")? };
    Ok(Register { from: fields.slot("from")?, token: fields.token("token")?, nonce: fields.nonce()?, fee: fields.fee()?, account })
}

struct Fields<'a>(&'a [(String, Json)]);

impl Fields<'_> {
    /// After [`Self::check_known`]: then a body with many fields ends at the first of the few names that comes again.
    fn check_unique(&self) -> Result<(), Problem> {
        for (i, (name, _)) in self.0.iter().enumerate() {
            if self.0[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::new(Code::DuplicateField, format!("field {name:?} comes twice")).field(name.as_str()));
            }
        }
        Ok(())
    }

    fn check_known(&self, known: &[&[&str]]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.iter().any(|known| known.contains(&name.as_str()))) {
            Some((name, _)) => {
                let problem = Problem::new(Code::UnknownField, format!("there is no field {:?}", echo(name))).field(name);
                let fields: Vec<String> = known.iter().map(|known| known.join(", ")).collect();
                Err(problem.hint(format!("fields: {}", fields.join("; "))))
            }
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Result<&str, Problem> {
        match self.0.iter().find(|(field, _)| field == name) {
            Some((_, Json::Text(text))) => Ok(text),
            Some((_, Json::Number)) => {
                Err(Problem::new(Code::InvalidNumber, "a JSON number is not exact everywhere").field(name).hint("send a decimal string"))
            }
            Some(_) => Err(Problem::new(Code::MalformedJson, "expected a string").field(name)),
            None => Err(Problem::new(Code::MissingField, format!("field {name:?} is missing")).field(name)),
        }
    }

    fn number(&self, name: &str, bits: u32) -> Result<u128, Problem> {
        parse_decimal(self.text(name)?, bits).map_err(|error| Problem::number(name, &error))
    }

    fn slot(&self, name: &str) -> Result<SlotId, Problem> {
        self.number(name, SLOT_BITS).map(|value| SlotId(value as u32))
    }

    fn key(&self) -> Result<Fr, Problem> {
        from_word(&self.bytes("key")?).ok_or_else(|| RecordError::Key.into())
    }

    fn token(&self, name: &str) -> Result<TokenId, Problem> {
        self.number(name, 16).map(|value| TokenId(value as u16))
    }

    fn nonce(&self) -> Result<Nonce, Problem> {
        self.number("nonce", 32).map(|value| Nonce(value as u32))
    }

    fn fee(&self) -> Result<FeeFloat, Problem> {
        FeeFloat::from_amount(Amount(self.number("fee", 128)?)).map_err(|error| Problem::number("fee", &error))
    }

    fn bytes<const N: usize>(&self, name: &str) -> Result<[u8; N], Problem> {
        let problem = || Problem::new(Code::InvalidHex, format!("expected 0x and {} hex digits", 2 * N)).field(name);
        from_hex(self.text(name)?).ok_or_else(problem)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn body(change: impl Fn(&mut serde_json::Value)) -> Result<SignedOp, Problem> {
        let mut value = serde_json::json!({
            "op": "transfer", "from": "5", "to": "9", "token": "1", "nonce": "0", "amount": "1000000", "fee": "1000",
            "signature": format!("0x{}", "00".repeat(64)),
        });
        change(&mut value);
        signed_op(&parse(value.to_string().as_bytes()).unwrap())
    }

    fn refused(change: impl Fn(&mut serde_json::Value)) -> (Code, Option<Box<str>>) {
        let problem = body(change).unwrap_err();
        (problem.code, problem.field)
    }

    #[test]
    fn a_well_formed_transfer_is_read() {
        let Op::Transfer(transfer) = body(|_| {}).unwrap().op else { panic!("not a transfer") };
        assert_eq!((transfer.from, transfer.to, transfer.amount.amount()), (SlotId(5), SlotId(9), Amount(1_000_000)));
    }

    #[test]
    fn numbers_are_strict() {
        for (bad, code) in [
            (serde_json::json!(5), Code::InvalidNumber),
            (serde_json::json!(1.5), Code::InvalidNumber),
            (serde_json::json!(-1), Code::InvalidNumber),
            (serde_json::json!("1.5"), Code::InvalidNumber),
            (serde_json::json!("-1"), Code::InvalidNumber),
            (serde_json::json!("01"), Code::InvalidNumber),
            (serde_json::json!("+1"), Code::InvalidNumber),
            (serde_json::json!(""), Code::InvalidNumber),
            (serde_json::json!("16777216"), Code::NumberTooLarge),
            (serde_json::json!("9".repeat(60)), Code::NumberTooLarge),
        ] {
            assert_eq!(refused(|value| value["from"] = bad.clone()), (code, Some("from".into())), "{bad}");
        }
    }

    #[test]
    fn an_unrepresentable_amount_names_the_value_below() {
        let problem = body(|value| value["amount"] = "68719476737".into()).unwrap_err();
        assert_eq!(problem.code, Code::AmountNotRepresentable);
        assert!(problem.hint.unwrap().contains("68719476735"));
        assert_eq!(refused(|value| value["fee"] = "4097".into()).0, Code::AmountNotRepresentable);
    }

    #[test]
    fn fields_are_known_and_complete_and_single() {
        assert_eq!(refused(|value| value["memo"] = "x".into()).0, Code::UnknownField);
        assert_eq!(refused(|value| drop(value.as_object_mut().unwrap().remove("nonce"))), (Code::MissingField, Some("nonce".into())));
        assert_eq!(refused(|value| value["op"] = "mint".into()).0, Code::UnknownOperation);
        let twice = parse(br#"{"op":"transfer","op":"withdraw"}"#).unwrap();
        assert_eq!(signed_op(&twice).unwrap_err().code, Code::DuplicateField);
    }

    #[test]
    fn a_body_of_a_hundred_thousand_fields_is_refused_at_once() {
        let many = |name: &dyn Fn(usize) -> String| {
            let fields: Vec<String> = (0..115_000).map(|i| format!("{:?}:1", name(i))).collect();
            parse(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap()
        };
        let (unknown, twice) = (many(&|i| format!("f{i}")), many(&|_| "op".to_owned()));
        let started = std::time::Instant::now();
        assert_eq!(signed_op(&unknown).unwrap_err().code, Code::UnknownField);
        assert_eq!(signed_op(&twice).unwrap_err().code, Code::DuplicateField);
        assert!(started.elapsed() < std::time::Duration::from_millis(500), "{:?}", started.elapsed());
    }

    #[test]
    fn a_long_name_is_not_repeated_whole() {
        let problem = body(|value| value["\u{e9}".repeat(10_000).as_str()] = "x".into()).unwrap_err();
        assert_eq!(problem.field.unwrap().chars().count(), 64);
        assert!(problem.detail.len() < 1_000, "{} bytes", problem.detail.len());
        assert!(body(|value| value["op"] = "x".repeat(10_000).into()).unwrap_err().detail.len() < 1_000);
    }

    #[test]
    fn bytes_have_their_length() {
        assert_eq!(refused(|value| value["signature"] = "0x00".into()), (Code::InvalidHex, Some("signature".into())));
        assert_eq!(refused(|value| value["signature"] = format!("0x{}", "ff".repeat(64)).into()).0, Code::NoncePointNotReduced);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(parse(deep.as_bytes()).unwrap_err().code, Code::MalformedJson);
    }
}

//! Which output pays what.

use super::RequiredOutput;
use crate::bch::{Output, Token};

/// Whether an output is exactly what is required: script, satoshis, and the token, no more and no less.
pub fn is_exact(required: &RequiredOutput, output: &Output) -> bool {
    required.satoshis == output.satoshis && required.token == output.token && required.script == output.script
}

/// Whether tokens that were met are enough for the tokens that are asked: the category, at least the amount, and
/// the non-fungible token if one is asked. Where no token is asked there must be none.
pub fn is_satisfied_by(asked: Option<&Token>, met: Option<&Token>) -> bool {
    match (asked, met) {
        (None, None) => true,
        (Some(asked), Some(met)) => {
            asked.category == met.category
                && asked.amount <= met.amount
                && (asked.nft.is_none() || asked.nft == met.nft)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The first required output that a transaction does not pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which required output.
    pub index: usize,
    /// What the transaction pays to that script instead, in satoshis, if it pays it anything.
    pub found_satoshis: Option<u64>,
}

/// Pays every required output with a distinct output, exactly; further outputs are fine. Gives the name that each
/// output came with, for each required output, in order.
///
/// Being exact is an equivalence, so the first free output that fits is as good as any other.
///
/// # Errors
///
/// [`Mismatch`] for the first required output that nothing pays.
pub fn assign_exactly<'a, N>(
    required: &[RequiredOutput],
    outputs: impl IntoIterator<Item = (N, &'a Output)>,
) -> Result<Vec<N>, Mismatch> {
    assign_beside_credits(required, outputs.into_iter().map(|(name, output)| (name, output, None)))
}

/// As [`assign_exactly`], where some of the outputs are credited already, each for the required output whose number
/// it comes with. A credit does not move, so whatever is not credited goes where no credit is.
///
/// # Errors
///
/// [`Mismatch`] for the first required output that nothing pays.
pub fn assign_beside_credits<'a, N>(
    required: &[RequiredOutput],
    outputs: impl IntoIterator<Item = (N, &'a Output, Option<u16>)>,
) -> Result<Vec<N>, Mismatch> {
    let mut free: Vec<(N, &Output, Option<u16>)> = outputs.into_iter().collect();
    let mut assigned = Vec::with_capacity(required.len());
    for (index, wanted) in required.iter().enumerate() {
        let fitting = free.iter().enumerate().filter(|(_, (_, output, _))| is_exact(wanted, output));
        let best = fitting.min_by_key(|(_, (.., credited))| match credited {
            Some(number) if usize::from(*number) == index => 0,
            None => 1,
            Some(_) => 2,
        });
        let Some(at) = best.map(|(at, _)| at) else {
            let found_satoshis = free
                .iter()
                .find(|(_, output, _)| output.script == wanted.script)
                .map(|(_, output, _)| output.satoshis);
            return Err(Mismatch { index, found_satoshis });
        };
        assigned.push(free.remove(at).0);
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bch::{Capability, Category, Nft, ScriptBuf, ScriptHash};

    fn script(tag: u8) -> ScriptBuf {
        ScriptBuf::from(vec![0x51, tag])
    }

    fn required(tag: u8, satoshis: u64, token: Option<Token>) -> RequiredOutput {
        RequiredOutput { address: String::new(), script: script(tag), satoshis, token, description: None }
    }

    fn output(tag: u8, satoshis: u64, token: Option<Token>) -> Output {
        Output { script_hash: ScriptHash::of(&script(tag)), script: script(tag), satoshis, token }
    }

    fn fungible(amount: u64) -> Option<Token> {
        Some(Token { category: Category::from_wire([1; 32]), amount, nft: None })
    }

    fn with_nft(amount: u64, commitment: &[u8]) -> Option<Token> {
        let nft = Nft { capability: Capability::None, commitment: commitment.to_vec() };
        Some(Token { category: Category::from_wire([1; 32]), amount, nft: Some(nft) })
    }

    fn assign(required: &[RequiredOutput], outputs: &[Output]) -> Result<Vec<u32>, Mismatch> {
        assign_exactly(required, (0..).zip(outputs))
    }

    #[test]
    fn distinct_outputs_for_equal_requirements() {
        let twice = [required(1, 1000, None), required(1, 1000, None)];
        assert_eq!(
            assign(&twice, &[output(1, 1000, None)]),
            Err(Mismatch { index: 1, found_satoshis: None })
        );
        let outputs = [output(2, 5, None), output(1, 1000, None), output(1, 1000, None)];
        assert_eq!(assign(&twice, &outputs), Ok(vec![1, 2]));
    }

    #[test]
    fn a_credit_stays_where_it_is() {
        let twice = [required(1, 1000, None), required(1, 1000, None)];
        let equal = output(1, 1000, None);
        let table = [
            ([None, None], ['a', 'b']),
            ([None, Some(0)], ['b', 'a']),
            ([Some(1), None], ['b', 'a']),
            ([Some(1), Some(0)], ['b', 'a']),
            ([Some(0), Some(0)], ['a', 'b']),
        ];
        for (credited, assigned) in table {
            let outputs = [('a', &equal, credited[0]), ('b', &equal, credited[1])];
            assert_eq!(assign_beside_credits(&twice, outputs), Ok(assigned.to_vec()), "{credited:?}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let wanted = [required(1, 1000, None), required(2, 500, None)];
        let outputs = [output(1, 1000, None), output(2, 499, None)];
        assert_eq!(assign(&wanted, &outputs), Err(Mismatch { index: 1, found_satoshis: Some(499) }));
    }

    #[test]
    fn exact_is_exact_in_tokens_too() {
        let table = [
            (None, None, true),
            (None, fungible(1), false),
            (fungible(1), None, false),
            (fungible(1), fungible(1), true),
            (fungible(1), fungible(2), false),
            (fungible(1), with_nft(1, b""), false),
            (with_nft(0, b"a"), with_nft(0, b"a"), true),
            (with_nft(0, b"a"), with_nft(0, b"b"), false),
        ];
        for (asked, met, exact) in table {
            assert_eq!(
                is_exact(&required(1, 7, asked.clone()), &output(1, 7, met.clone())),
                exact,
                "{asked:?} {met:?}"
            );
        }
    }

    #[test]
    fn enough_tokens() {
        let table = [
            (None, None, true),
            (None, fungible(1), false),
            (fungible(5), fungible(5), true),
            (fungible(5), fungible(6), true),
            (fungible(5), fungible(4), false),
            (fungible(5), with_nft(5, b""), true),
            (with_nft(0, b"a"), with_nft(3, b"a"), true),
            (with_nft(0, b"a"), fungible(3), false),
            (with_nft(0, b""), with_nft(0, b"a"), false),
        ];
        for (asked, met, enough) in table {
            assert_eq!(is_satisfied_by(asked.as_ref(), met.as_ref()), enough, "{asked:?} {met:?}");
        }
    }
}

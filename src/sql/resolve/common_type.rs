//! The common type of several expressions: CASE, COALESCE, IN, UNION, VALUES, ARRAY and anycompatible
//! (select_common_type, parse_coerce.c).

use crate::catalog::{Oid, Snapshot};

use super::coerce::can_coerce;
use super::{base_type, category, oid};

/// The type that all of `types` become; nothing when their categories differ (42804), or without any. Whether each
/// really can become it is [`common_type_works`]'s question.
pub fn common_type(catalog: &Snapshot, types: &[Oid]) -> Option<Oid> {
    let (first, rest) = types.split_first()?;
    // Only so can the result be a domain.
    if *first != oid::UNKNOWN && rest.iter().all(|t| t == first) {
        return Some(*first);
    }
    let mut chosen = base_type(catalog, *first);
    let (mut chosen_category, mut preferred) = category(catalog, chosen);
    for other in rest {
        let next = base_type(catalog, *other);
        if next == oid::UNKNOWN || next == chosen {
            continue;
        }
        let (next_category, next_preferred) = category(catalog, next);
        let takes_over = if chosen == oid::UNKNOWN {
            true
        } else if next_category != chosen_category {
            return None;
        } else {
            !preferred && can_coerce(catalog, &[chosen], &[next]) && !can_coerce(catalog, &[next], &[chosen])
        };
        if takes_over {
            (chosen, chosen_category, preferred) = (next, next_category, next_preferred);
        }
    }
    Some(if chosen == oid::UNKNOWN { oid::TEXT } else { chosen })
}

/// Whether each of `types` can be coerced to `common` (verify_common_type).
pub fn common_type_works(catalog: &Snapshot, common: Oid, types: &[Oid]) -> bool {
    types.iter().all(|t| can_coerce(catalog, &[*t], &[common]))
}

//! The outbox read back: newest first, page by page.

use crate::kernel::page::{Page, Paging};
use crate::kernel::text::Email;
use crate::mail::model::Mail;
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError, codec};

/// The most mails one page looks at.
const MOST_LOOKED_AT: usize = 10_000;

/// Mails that were not delivered, newest first, perhaps only those to one address. May block.
///
/// # Errors
/// When the store fails.
pub fn mails(store: &dyn Store, to: Option<&Email>, paging: &Paging) -> Result<Page<Mail>, StoreError> {
    let prefix = Key::of(Kind::Mail, &[]);
    let mut last = paging.after.as_ref().map(|after| Key::of(Kind::Mail, &[after]));
    let mut found = Vec::new();
    let mut looked_at = 0;
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), paging.limit)?;
        let is_last = page.len() < paging.limit;
        looked_at += page.len();
        for record in page {
            let mail: Mail = codec::decode(&record.value)?;
            last = Some(record.key);
            if to.is_none_or(|to| mail.to.folded() == to.folded()) {
                found.push(mail);
            }
            if found.len() == paging.limit {
                break;
            }
        }
        if is_last && found.len() < paging.limit {
            return Ok(Page::whole(found));
        }
        if found.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
            let cursor = last.as_ref().and_then(|key| key.bytes().get(1..)).unwrap_or_default();
            return Ok(Page::new(found, Some(cursor)));
        }
    }
}

//! A panic is a mistake of this program. Where one ends work that others wait for, it becomes an error that says so: what failed is told, and the rest goes on.

use crate::{Error, Result};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Remembers where panics are, so that what becomes of them can say it. At the beginning of the program; what was done about panics until now is done still.
pub fn watch() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        // A thread that is ending has none any more.
        let _ = PLACE.try_with(|last| last.set(place));
        before(panic);
    }));
}

/// Does something; a panic in it is an error. What it was doing is as it would be had the process been killed there: everything here is made to bear that.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    PLACE.set(None);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(error(&*panic, PLACE.take())))
}

fn error(panic: &(dyn Any + Send), place: Option<String>) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it says nothing");
    let place = place.map_or_else(String::new, |place| format!(", at {place}"));
    Error::new(format!(
        "a mistake of this program, and not yours: {text}{place}. Please report it to whoever gave you the program, with this line and `releve --version`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_whose_mistake_it_is() {
        assert_eq!(caught(|| Ok(7)).unwrap(), 7);
        assert_eq!(caught::<()>(|| Err(Error::new("no"))).unwrap_err().message, "no");
        let number = 7;
        for error in [caught::<()>(|| panic!("nobody thought of that")), caught(|| panic!("of {number}"))] {
            let error = error.unwrap_err();
            assert!(error.message.starts_with("a mistake of this program, and not yours: "), "{error}");
            assert!(!error.retryable && !error.untouched, "nobody knows what it had done");
        }
        // Also where a thread that it has waited for did, and where something was held.
        let held = std::sync::Mutex::new(0);
        let far = caught(|| {
            let _held = held.lock();
            let ended = std::thread::spawn(move || assert!(number == 0, "far away")).join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(())
        });
        assert!(far.unwrap_err().message.contains("far away"));
    }
}

//! Conditions and what they are asked about: the first line is the condition, the rest is an object of JSON, which stands
//! for every variable. One evaluation takes at most 1 MiB of memory and 1 ms, the best of several tries.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use sesame::access::condition::Condition;
use sesame::access::condition::budget::Allowance;
use sesame::access::condition::datum::{Datum, Variable, Variables};
use sesame::access::passed::MAX_TOLD_BYTES;

const MOST_BYTES: usize = 1 << 20;
const MOST_TIME: Duration = Duration::from_millis(1);
const TRIES: usize = 50;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread holds, and the most it held.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        NOW.with(|now| {
            now.set(now.get().wrapping_add(layout.size()));
            MOST.with(|most| most.set(most.get().max(if now.get() > isize::MAX as usize { 0 } else { now.get() })));
        });
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.with(|now| now.set(now.get().wrapping_sub(layout.size())));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One object, as everything.
#[derive(Debug)]
struct Everything(Map<String, Value>);

impl Variables for Everything {
    fn whole(&self, variable: Variable) -> Option<Datum<'_>> {
        Some(Datum::Parts(self, variable))
    }

    fn part(&self, _variable: Variable, name: &str) -> Option<Datum<'_>> {
        match name {
            "properties" => Some(Datum::Layers(Some(&self.0), None)),
            name => self.0.get(name).map(Datum::Json),
        }
    }
}

fuzz_target!(|text: &str| {
    let (source, told) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(condition) = Condition::parse(source) else { return };
    if told.len() > MAX_TOLD_BYTES {
        return;
    }
    let everything = Everything(serde_json::from_str(told).unwrap_or_default());
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        NOW.set(0);
        MOST.set(0);
        let started = Instant::now();
        let _truth = condition.truth(&everything, &Allowance::whole());
        best = best.min(started.elapsed());
        let most = MOST.get();
        assert!(most <= MOST_BYTES, "{source} took {most} bytes");
        if best <= MOST_TIME {
            return;
        }
    }
    panic!("{source} took {best:?}");
});

//! What users cost in memory, how long a cold one takes, and how long a start takes with a million of them.
fn main() {}

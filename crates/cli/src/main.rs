//! The program `byname`.

fn main() {}

//! The program `byname`.

fn main() {
    let sources: Vec<_> = std::env::args().skip(1).map(|a| byname_cli::input::Source::new(&a)).collect();
    match byname_cli::cluster::Cluster::read(&sources, &mut |_| {}) {
        Ok(c) => println!("{:?} {:?} {}", c.read, c.skipped, c.slices_of.len()),
        Err(e) => println!("{e}"),
    }
}

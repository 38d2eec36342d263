//! `sandbox bench COUNT`: what one trivial RUN costs, by the kernel's own accounts.

use std::process::ExitCode;
use std::time::Instant;

use crate::layers::Builder;
use crate::room::{Room, ran};

pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let count: u32 = arguments.next().map_or(100, |count| count.parse().unwrap());
    let room = Room::busybox();
    let process = room.process(&["/bin/true"]);
    measure("the sandbox alone", count, || {
        ran(&process).unwrap();
    });
    let builder = Builder::new();
    measure("snapshot, sandbox, changes and discard", count, || {
        builder.changed("true");
    });
    ExitCode::SUCCESS
}

fn measure(what: &str, count: u32, mut run: impl FnMut()) {
    run();
    let (cpu, wall) = (ticks(), Instant::now());
    for _ in 0..count {
        run();
    }
    // USER_HZ is 100 on every Linux that this runs on.
    let cpu = (ticks() - cpu) as f64 * 10.0 / f64::from(count);
    let wall = wall.elapsed().as_secs_f64() * 1000.0 / f64::from(count);
    println!("{what}: {cpu:.2} ms CPU, {wall:.2} ms wall, mean of {count}");
}

/// User and system time of this process and of the children it waited for.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum()
}

//! `sandbox bench COUNT`: what one trivial RUN costs, by the kernel's own accounts.

use std::process::ExitCode;
use std::time::Instant;

use crate::room::{Room, ran};

pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let count: u32 = arguments.next().map_or(100, |count| count.parse().unwrap());
    let room = Room::busybox();
    let process = room.process(&["/bin/true"]);
    ran(&process).unwrap();
    let (cpu, wall) = (ticks(), Instant::now());
    for _ in 0..count {
        ran(&process).unwrap();
    }
    let (cpu, wall) = (ticks() - cpu, wall.elapsed());
    // USER_HZ is 100 on every Linux that this runs on.
    println!(
        "{count} runs: {:.2} ms CPU, {:.2} ms wall each",
        cpu as f64 * 10.0 / f64::from(count),
        wall.as_secs_f64() * 1000.0 / f64::from(count)
    );
    ExitCode::SUCCESS
}

/// User and system time of this process and of the children it waited for.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum()
}

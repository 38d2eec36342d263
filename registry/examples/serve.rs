//! A registry on an address: `cargo run --example serve -- ROOT ADDRESS`. Stops when its input ends.

use std::io::Read;

use oxbox_registry::{ServeConfig, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve ROOT ADDRESS".into());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let server = Server::bind(ServeConfig::new(root, address.parse()?)).await?;
        println!("{}", server.local_addr());
        let stopped = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        server.run(async { drop(stopped.await) }).await;
        Ok(())
    })
}

//! The daemon is killed, again and again, at moments that nobody chose.

use std::time::Duration;

use anyhow::{Context as _, Result};
use regtest::shop::on_fresh_nodes;

use super::{
    open,
    stream::{Chance, Stream},
};

/// How often it is killed where `JPPD_KILLS` does not say.
const KILLS: usize = 10;
/// How many payments there are for each kill at most.
const PAYMENTS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_at_any_moment_loses_nothing() -> Result<()> {
    let name = "a_daemon_that_is_killed_at_any_moment_loses_nothing";
    let kills = match std::env::var("JPPD_KILLS") {
        Ok(named) => named.parse().context("JPPD_KILLS is a number")?,
        Err(_) => KILLS,
    };
    on_fresh_nodes(name, async |node| {
        let mut chance = Chance::new(name)?;
        let mut shop = open(node).await?;
        let mut stream = Stream::prepare(&mut shop, kills * PAYMENTS, chance.clone())?;
        let daemon = shop.daemon.clone();
        let mut killer = tokio::spawn(async move {
            for _ in 0..kills {
                // Sometimes it is at work, sometimes it has not begun yet.
                if chance.below(4) > 0 {
                    daemon.wait_ready().await?;
                }
                tokio::time::sleep(chance.millis(700)).await;
                daemon.kill()?;
                tokio::time::sleep(chance.millis(50)).await;
                daemon.launch()?;
            }
            daemon.wait_ready().await
        });
        let mut begun = 0;
        while !killer.is_finished() {
            if begun < kills * PAYMENTS {
                stream.step(&mut shop).await?;
                begun += 1;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        (&mut killer).await??;
        stream.finish().await?;
        let made = stream.made().len();
        println!("{}: {kills} kills, {made} payments", shop.node.name());
        stream.all_paid(&shop).await?;
        stream.settle(&mut shop, true).await
    })
    .await
}

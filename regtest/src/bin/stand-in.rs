//! The stand-in node as a program: what `bitcoind -regtest` is to a machine, for machines that have none.
//!
//! Runs with one block on its chain until SIGTERM or SIGINT, on the ports of a regtest node and of the configuration
//! of `jppd`. Nothing of the chain outlives the process.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use regtest::{Node, SimNode, SimOptions, SimPlace, Topic, purse};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the stand-in node on regtest until it gets SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(name = "stand-in")]
struct Options {
    /// Folder of the cookie file: DATADIR/regtest/.cookie
    #[arg(long)]
    datadir: PathBuf,
    /// Let the umask alone decide who reads the cookie
    #[arg(long)]
    sysperms: bool,
    /// Port of JSON-RPC
    #[arg(long, default_value_t = 18_443)]
    rpcport: u16,
    /// Port of the topic rawtx; hashblock and hashds have the two ports above it
    #[arg(long, default_value_t = 28_335, value_parser = clap::value_parser!(u16).range(1..=65_533))]
    zmqport: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let folder = options.datadir.join("regtest");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let node = SimNode::start(SimOptions {
        topics: vec![Topic::RawTx, Topic::HashBlock, Topic::HashDs],
        place: Some(SimPlace {
            folder,
            cookie_mode: if options.sysperms { 0o666 } else { 0o600 },
            rpc_port: options.rpcport,
            zmq_ports: (options.zmqport..=options.zmqport + 2).collect(),
        }),
        ..SimOptions::default()
    })?;
    // A node without a recent block says that it is still downloading the chain.
    node.mine(1, &purse::nobody())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    node.stop()?;
    Ok(())
}

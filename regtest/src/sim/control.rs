//! Methods about the node itself.

use serde::Serialize;

use super::json::{Coins, Reply, read_address, reply};
use super::methods::Context;
use super::params::{Json, Params};
use crate::node::RpcFailure;

#[derive(Serialize)]
struct NetworkInfo {
    version: u32,
    subversion: &'static str,
    protocolversion: u32,
    localservices: &'static str,
    localrelay: bool,
    timeoffset: u32,
    networkactive: bool,
    connections: u32,
    connections_in: u32,
    connections_out: u32,
    networks: Vec<Network>,
    relayfee: Coins,
    excessutxocharge: Coins,
    localaddresses: [u32; 0],
    warnings: &'static str,
}

#[derive(Serialize)]
struct Network {
    name: &'static str,
    limited: bool,
    reachable: bool,
    proxy: &'static str,
    proxy_randomize_credentials: bool,
}

pub(super) fn get_network_info(context: &mut Context<'_>, _: &Params) -> Reply {
    let network = |name| {
        let onion = name == "onion";
        Network { name, limited: onion, reachable: !onion, proxy: "", proxy_randomize_credentials: false }
    };
    reply(&NetworkInfo {
        version: 28_000_100,
        subversion: "/Bitcoin Cash Node:28.0.1(EB32.0)/",
        protocolversion: 70_016,
        localservices: "0000000000000425",
        localrelay: true,
        timeoffset: 0,
        networkactive: true,
        connections: 0,
        connections_in: 0,
        connections_out: 0,
        // The node lists two networks that have no name.
        networks: ["ipv4", "ipv6", "onion", "", ""].map(network).into(),
        relayfee: Coins(context.chain.relay_fee()),
        excessutxocharge: Coins(0),
        localaddresses: [],
        warnings: "",
    })
}

#[derive(Serialize)]
struct Notification {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

pub(super) fn get_zmq_notifications(context: &mut Context<'_>, _: &Params) -> Reply {
    let list = context.node.notifications();
    let list: Vec<_> = list
        .into_iter()
        .map(|(topic, address)| Notification { kind: format!("pub{}", topic.name()), address })
        .collect();
    reply(&list)
}

pub(super) fn set_mock_time(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::Number]])?;
    let time = u64::try_from(params.integer(0)?)
        .map_err(|_| RpcFailure::new(-8, "Timestamp must be 0 or greater"))?;
    context.node.options.clock.fix(time);
    reply(&())
}

pub(super) fn stop(context: &mut Context<'_>, _: &Params) -> Reply {
    context.node.end_soon().map_err(|e| RpcFailure::new(-32603, e.to_string()))?;
    reply(&"Bitcoin server stopping")
}

/// The answer waits for the queue; that is all this method is for.
pub(super) fn sync_queue(_: &mut Context<'_>, _: &Params) -> Reply {
    reply(&())
}

pub(super) fn uptime(context: &mut Context<'_>, _: &Params) -> Reply {
    reply(&context.node.uptime())
}

#[derive(Serialize)]
struct ValidAddress {
    isvalid: bool,
    address: String,
    #[serde(rename = "scriptPubKey")]
    script: String,
    isscript: bool,
    istokenaware: bool,
}

#[derive(Serialize)]
struct InvalidAddress {
    isvalid: bool,
}

pub(super) fn validate_address(_: &mut Context<'_>, params: &Params) -> Reply {
    let Some(address) = read_address(params.text(0)?) else {
        return reply(&InvalidAddress { isvalid: false });
    };
    let script = address.script_pubkey();
    reply(&ValidAddress {
        isvalid: true,
        address: address.to_string(),
        script: hex::encode(script.as_bytes()),
        isscript: !script.is_p2pkh(),
        istokenaware: address.is_token_aware(),
    })
}

//! How many files the operating system lets the daemon open, and how many its configuration needs.

use crate::config::Config;

/// Files of the database: its tables and logs.
const DATABASE: usize = 512;

/// Everything else: ports, the node's connections, key files.
const OTHERS: usize = 64;

/// The limits of this process, one a line.
const LIMITS: &str = "/proc/self/limits";

/// A warning when this process may open fewer files than its connections, its sockets and its database need.
pub(super) fn shortage(config: &Config) -> Option<String> {
    let limits = match std::fs::read_to_string(LIMITS) {
        Ok(limits) => limits,
        Err(error) => {
            return Some(format!("{LIMITS} cannot be read, the limit of open files is unknown: {error}"));
        }
    };
    shortage_of(soft_limit(&limits)?, config)
}

fn shortage_of(limit: usize, config: &Config) -> Option<String> {
    let (connections, sockets) = (config.limits.max_connections, config.limits.max_sockets);
    let needed = connections.saturating_add(sockets).saturating_add(DATABASE + OTHERS);
    (limit < needed).then(|| {
        format!(
            "this process may open {limit} files and may need {needed}: limits.max_connections {connections} + \
             limits.max_sockets {sockets} + {DATABASE} of the database + {OTHERS} others; raise the limit \
             (LimitNOFILE= of the unit, ulimit -n), or lower those two"
        )
    })
}

/// The soft limit of open files; `None` where there is none.
fn soft_limit(limits: &str) -> Option<usize> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_is_compared_with_connections_sockets_and_database() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             95839                95839                processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit(&text.replace("1024  ", "unlimited")), None);
        let mut config = Config::default();
        config.limits.max_connections = 100;
        config.limits.max_sockets = 200;
        assert_eq!(shortage_of(876, &config), None);
        let warning = shortage_of(875, &config).unwrap();
        for part in ["875", "876", "limits.max_connections 100", "limits.max_sockets 200", "512", "64"] {
            assert!(warning.contains(part), "{part} is not in {warning}");
        }
    }
}

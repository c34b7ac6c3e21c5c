//! The `jppd` binary. Everything it does is in the library, see [`jppd::cli`].

fn main() -> std::process::ExitCode {
    jppd::cli::main(jppd::cli::run::run)
}

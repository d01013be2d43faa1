//! The command line of `dfks responders`.

use clap::{Args, Subcommand};

use super::connection::ClientArgs;

/// Of `dfks responders`.
#[derive(Debug, Args)]
pub(crate) struct RespondersArgs {
    /// What to do; none: list them.
    #[command(subcommand)]
    pub(crate) action: Option<RespondersAction>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl RespondersArgs {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            None => &self.client,
            Some(RespondersAction::Forget(args)) => &args.client,
            Some(RespondersAction::Test(args)) => &args.client,
        }
    }
}

/// What is done about responders.
#[derive(Debug, Subcommand)]
pub(crate) enum RespondersAction {
    /// Forget responders that are gone for good: they own nothing until they answer again
    Forget(ForgetArgs),
    /// Ask a responder once, and say whether a worker could use its answer
    Test(TestArgs),
}

/// Of `dfks responders forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// dfks.responder.KIND.DOMAIN.FEATURE, with * for any part or > for the rest, or a domain
    pub(crate) subject: String,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks responders test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// dfks.responder.get.DOMAIN.FEATURE; ….set.… with --set
    pub(crate) subject: String,
    /// Whose feature, of that domain; none: a made-up one
    #[arg(long, value_name = "PRESENTITY")]
    pub(crate) presentity: Option<String>,
    /// Ask to set it to this: the responder cannot know that it is a test
    #[arg(long, value_name = "on|off", value_parser = is_on)]
    pub(crate) set: Option<bool>,
    /// A value to set, e.g. ringCount=4; repeat for several
    #[arg(long = "value", value_name = "FIELD=TEXT", value_parser = field)]
    pub(crate) values: Vec<(String, String)>,
    /// How long it may take, in milliseconds; workers wait for the time that the configuration gives
    #[arg(long, value_name = "MILLISECONDS", default_value = "500", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) within: u64,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn is_on(text: &str) -> Result<bool, String> {
    match text {
        "on" | "1" | "true" => Ok(true),
        "off" | "0" | "false" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err("expected FIELD=TEXT, e.g. ringCount=4".to_owned()),
    }
}

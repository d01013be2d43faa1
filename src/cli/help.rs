//! The examples below the help of each command.

pub(super) const AFTER: &str = "\
Examples:
  dfks run                                              all roles, with an embedded NATS
  dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060
  dfks set sip:alice@127.0.0.1 DoNotDisturb on

Exit codes: 0 done, 1 refused, 69 nobody answered, 78 bad configuration, 64 usage.";

pub(super) const RUN: &str = "\
Examples:
  dfks run                                              everything on defaults, NATS embedded
  dfks run --config /etc/dfks.toml --role edge
  DFKS__NATS__URL=nats://10.0.0.5:4222 dfks run --role worker --role mi";

pub(super) const CHECK: &str = "\
Examples:
  dfks check --config /etc/dfks.toml
  DFKS__LOG__LEVEL=debug dfks check";

pub(super) const SET: &str = "\
Examples:
  dfks set sip:alice@127.0.0.1 DoNotDisturb on
  dfks set sip:alice@127.0.0.1 CallForwardingNoAnswer on --value ringCount=4 --value forwardTo=sip:bob@10.0.0.11
  dfks set sip:alice@127.0.0.1 dnd off --actor 'helpdesk, ticket 4711'
  dfks set sip:alice@127.0.0.1 dnd on --for 2h          off by itself then; also --until 17:00
  dfks set sip:alice@127.0.0.1 dnd on --durable         carried out whenever a mi bridge is up
  dfks set --file moves.ndjson --actor 'night batch'    {\"presentity\":\"sip:alice@h\",\"feature\":\"DoNotDisturb\",\"status\":1} a line
  dfks set --file - --durable --id batch-7 < moves.ndjson";

pub(super) const LIST: &str = "\
What the bucket of states holds; what only a responder or a script says is not in it.

Examples:
  dfks list --feature CFA --on                          whose calls are forwarded
  dfks list --domain example.com --json";

pub(super) const EXPORT: &str = "\
Ordered by presentity, so that two exports can be compared. It is not one moment's picture: what changes meanwhile may be in it.

Examples:
  dfks export > states.ndjson
  dfks export --domain example.com | gzip > example.com.ndjson.gz";

pub(super) const IMPORT: &str = "\
Nothing is written where a line is invalid. What is stored already is left as it is, so that an import that was interrupted is
started again. No script and no responder is asked. Versions go on from the higher one, and phones are told.

Examples:
  dfks import states.ndjson --check                     what would change
  dfks import states.ndjson
  zcat example.com.ndjson.gz | dfks import -";

pub(super) const GET: &str = "\
Examples:
  dfks get sip:alice@127.0.0.1
  dfks get sip:alice@127.0.0.1 DoNotDisturb CallForwardingBusy --json
  dfks get sip:alice@example.com --context lab           server and login of ~/.config/nats/context/lab.json
  dfks get sip:alice@example.com --config /etc/dfks.toml server, login and TLS of its [nats]";

pub(super) const WATCHERS: &str = "\
Examples:
  dfks watchers
  dfks watchers sip:alice@127.0.0.1 --json";

pub(super) const WHY: &str = "\
One sentence for each thing that is found, and the next step. Exit code 0: every phone shows how things are; 1: something is not in step.
Subscriptions that ended count for 24 hours.

Examples:
  dfks why sip:alice@127.0.0.1
  dfks why sip:alice@127.0.0.1 DoNotDisturb
  dfks why sip:alice@127.0.0.1 --json | jq '.findings[] | .verdict'";

pub(super) const TRACE: &str = "\
From the stream of events, as far back as it goes, and what edges and the work queue say is still under way. It is red where it stopped.

Examples:
  dfks trace --last sip:alice@127.0.0.1                 her last change
  dfks trace 019acb00f0d24c1f2b7d1a55c3e8f00d           what 'dfks set', 'dfks events' or 'dfks why' gave as its cause
  dfks trace --last sip:alice@127.0.0.1 --svg way.svg   a picture of it
  dfks trace --last sip:alice@127.0.0.1 --json | jq -c 'select(.outcome != \"ok\")'";

pub(super) const RESYNC: &str = "\
The phones are told one after another, 500 a second for each edge: how many, is said at once. Nothing changes; what each phone answers is
in dfks.event.notify.

Examples:
  dfks resync sip:alice@127.0.0.1
  dfks resync sip:alice@127.0.0.1 --subscription 0c7d4bd54b5f90fb3d3b5eb9
  dfks resync --domain example.com --actor 'helpdesk, ticket 4711'";

pub(super) const END: &str = "\
'dfks watchers' shows the subscriptions. Its phone gets a NOTIFY terminated: with the reason deactivated it subscribes again at once, with
rejected it should not.

Examples:
  dfks end 0c7d4bd54b5f90fb3d3b5eb9
  dfks end 0c7d4bd54b5f90fb3d3b5eb9 --reason rejected --actor 'fraud desk'";

pub(super) const STATUS: &str = "\
Exit code 0: all is fine; 1: something is wrong, and stderr says what; 69: nobody answered.

Examples:
  dfks status
  dfks status --watch                                   again every 2 seconds, until Ctrl-C
  dfks status --json | jq .wrong";

pub(super) const SNAPSHOT: &str = "\
User parts of URIs, forward targets, texts of others, numbers dialled and actors are hashed, the same ones alike within one snapshot;
configurations are as dfks check prints them. Read it before you give it away.

Examples:
  dfks snapshot --out dfks-snapshot.json
  dfks snapshot | jq .status.wrong";

pub(super) const LOG: &str = "\
A level is error, warn, info, debug, trace or off, a list of what it is of (info,dfks::edge=debug), or configured: that of the
configuration. Without --for it stays until the process ends. At debug the log names presentities and phones.

Examples:
  dfks log                                              which process logs at which level
  dfks log debug --for 10m --role edge
  dfks log info,dfks::worker=trace --for 30s --actor 'ticket 4711'
  dfks log configured";

pub(super) const DEAD: &str = "\
Letters are kept for 30 days. One that is published again goes to the queue that it came from, is carried out once, and leaves the dead
letters as soon as that queue has it; when it fails again, it comes back as a new one. Each is an event, dfks.event.hand, that says who did it.

Examples:
  dfks dead list                                        the newest last
  dfks dead list --reason unavailable --json | jq .payload
  dfks dead show 17
  dfks dead replay 17 18 --actor 'helpdesk, ticket 4711'
  dfks dead replay --all --reason unavailable --domain example.com
  dfks dead drop --all --reason invalid --yes";
pub(super) const SIP: &str = "\
An edge keeps the last messages of each subscription (http.sip_ring_messages, http.sip_ring_bytes) until it stops; stars stand in place of
credentials and nonces. Of TLS and WebSocket it is what was inside: a capture file has it as SIP over TCP at port 5060.

Examples:
  dfks watchers sip:alice@127.0.0.1 --json | jq -r .subscription
  dfks sip 0c7d4bd54b5f90fb3d3b5eb9
  dfks sip 0c7d4bd54b5f90fb3d3b5eb9 --pcap alice.pcap && tshark -r alice.pcap
  dfks sip 0c7d4bd54b5f90fb3d3b5eb9 --json | jq -r .text";

pub(super) const RESPONDERS: &str = "\
Examples:
  dfks responders                                       who answers for what, when it was heard, what was wrong last
  dfks responders --json | jq 'select(.breaker != \"closed\")'
  dfks responders test dfks.responder.get.example_com.DoNotDisturb
  dfks responders test dfks.responder.set.example_com.DoNotDisturb --set on --presentity sip:nobody@example.com
  dfks responders forget dfks.responder.set.example_com.DoNotDisturb
  dfks responders forget example.com                    all of that domain";

pub(super) const ROUTE: &str = "\
No responder is asked and nothing is stored; what is stored before is given with --old. Exit code 0: the route ran, whatever it decided; 1: it
failed, in the function and line that are named, or what was asked for does not fit the feature.

Examples:
  dfks route set sip:alice@example.com CFA on --value forwardTo=sip:bob@example.com --script routes.rhai
  dfks route get sip:alice@example.com --script routes.rhai --at '2026-12-24 18:30' --time-zone Europe/Berlin
  dfks route get sip:alice@example.com CFA --script routes.rhai --data holidays.toml --old CFA=on,forwardTo=sip:bob@example.com
  dfks route set sip:alice@example.com dnd on --script routes.rhai --watcher sip:alice@example.com --json
  dfks route set sip:alice@example.com dnd on --config /etc/dfks.toml --param night";

pub(super) const EVENTS: &str = "\
Without --since and --last from now on. With --timeout it ends after so many seconds in which no event was shown: with exit code 69 where
none, or fewer than --count, were.

Examples:
  dfks events
  dfks events --presentity sip:alice@127.0.0.1 --feature DoNotDisturb
  dfks events --domain example.com                      all that a tenant's user may hear
  dfks events --kind subscription --kind notify
  dfks events --since 2h --presentity sip:alice@127.0.0.1
  dfks events --last 20 --timeout 1                     the last 20, and no more
  dfks events --count 1 --kind feature && echo something changed
  dfks events --json | jq 'select(.type == \"io.dfks.event.v1.feature\")'";

pub(super) const PHONE: &str = "\
On a terminal it draws its lamps, and keys press its keys: d DoNotDisturb, a CallForwardingAlways, b CallForwardingBusy,
n CallForwardingNoAnswer, q quits. Elsewhere, and with --json, --press or --for, it prints a line for each thing that happens and stays
subscribed until Ctrl-C, for --for SECONDS, or, with --press and without --for, until the last key is confirmed.

Examples:
  dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060
  dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060 --press DoNotDisturb=on
  dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060 --transport tcp \\
    --press CallForwardingAlways=on,forwardTo=sip:bob@10.0.0.11 --press CallForwardingAlways=off --for 5
  dfks phone sip:alice@example.com --server sip.example.com:5061 --transport tls --user alice --password-file alice.password
  dfks phone sip:alice@example.com --server sip.example.com:7443 --transport wss --ca ca.pem

An unknown feature or field is exit 1 before anything is sent, a key that is refused, or that the NOTIFY after it shows as not taken, exit 1 too.";

pub(super) const SCHEMAS: &str = "\
Examples:
  dfks schemas                                          all of them on stdout, one a line
  dfks schemas --out schemas                            a file each, and asyncapi.yaml";

pub(super) const COMPLETIONS: &str = "\
Examples:
  dfks completions bash > /etc/bash_completion.d/dfks
  dfks completions zsh > \"${fpath[1]}/_dfks\"
  dfks completions fish > ~/.config/fish/completions/dfks.fish";

pub(super) const MAN: &str = "\
Examples:
  dfks man --out /usr/local/share/man/man1              all pages: dfks(1), dfks-set(1), dfks-dead-list(1), …
  dfks man dead list | man -l -";

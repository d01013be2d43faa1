//! The route script in use: run for each request, replaced when its file or that of its data changes. I/O.
//!
//! A route runs on the request's own task: it takes microseconds, and the sandbox ends it after
//! [`DEADLINE`](crate::worker::script::DEADLINE). After a slow run, a tenant's routes run in a small thread pool for a while, so that
//! they delay other tenants' requests only once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::RoutesConfig;
use crate::runtime::{FileStamp, clock};
use crate::worker::metrics::WorkerMetrics;
use crate::worker::recent::Recent;
use crate::worker::route::Route;
use crate::worker::script::call::{Call, Verdict};
use crate::worker::script::{RouteError, Script, ScriptError, names};

/// How often the file is checked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run that takes longer is slow.
const SLOW_RUN: Duration = Duration::from_millis(2);
/// How long a tenant's routes run in the pool after a slow run.
const SLOW_FOR: Duration = Duration::from_secs(10);
/// Most slow tenants remembered.
const MAX_SLOW: usize = 4096;

/// Of the script, and of the file with its data.
type Stamp = (Option<FileStamp>, Option<FileStamp>);

/// The route script, if one is configured.
#[derive(Debug)]
pub(crate) struct Routes {
    config: RoutesConfig,
    script: ArcSwapOption<Script>,
    /// Of the files as they were looked at last.
    stamp: Mutex<Stamp>,
    slow: Mutex<Recent>,
    pool: Arc<Semaphore>,
}

impl Routes {
    /// Loads the script of `config`, if it names one.
    ///
    /// # Errors
    ///
    /// [`ScriptError`]: `dfks run` and `dfks check` end with 78.
    pub(crate) fn load(config: &RoutesConfig) -> Result<Self, ScriptError> {
        // Taken before the file is read, so that a change in between is noticed.
        let stamp = stamp_of(config);
        let script = if is_configured(config) { Some(Arc::new(Script::load(config)?)) } else { None };
        if let Some(script) = &script {
            let (get, set) = (script.has(Route::Get), script.has(Route::Set));
            tracing::info!(script = %config.script.display(), get, set, "route script loaded");
        }
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        Ok(Self {
            config: config.clone(),
            script: ArcSwapOption::new(script),
            stamp: Mutex::new(stamp),
            slow: Mutex::new(Recent::new(MAX_SLOW, SLOW_FOR)),
            pool: Arc::new(Semaphore::new(threads)),
        })
    }

    /// The script that has `route`, as it is now.
    pub(crate) fn script_with(&self, route: Route) -> Option<Arc<Script>> {
        self.script.load_full().filter(|script| script.has(route))
    }

    /// Runs a route for a presentity of `domain`.
    ///
    /// # Errors
    ///
    /// [`RouteError`].
    pub(crate) async fn run(
        &self,
        script: &Arc<Script>,
        route: Route,
        domain: &str,
        call: Call,
        metrics: &WorkerMetrics,
    ) -> Result<Verdict, RouteError> {
        self.run_next(script, route, domain, call, metrics, &mut None).await
    }

    /// Runs a route for each feature of a presentity of `domain`, one after another.
    pub(crate) async fn run_each(
        &self,
        script: &Arc<Script>,
        route: Route,
        domain: &str,
        calls: Vec<Call>,
        metrics: &WorkerMetrics,
    ) -> Vec<Result<Verdict, RouteError>> {
        let (mut verdicts, mut ended_at) = (Vec::with_capacity(calls.len()), None);
        for call in calls {
            verdicts.push(self.run_next(script, route, domain, call, metrics, &mut ended_at).await);
        }
        verdicts
    }

    /// `ended_at`: the processor time at which the run before ended on this thread, since reading that clock takes as long as a simple
    /// run does.
    async fn run_next(
        &self,
        script: &Arc<Script>,
        route: Route,
        domain: &str,
        call: Call,
        metrics: &WorkerMetrics,
        ended_at: &mut Option<Duration>,
    ) -> Result<Verdict, RouteError> {
        let (outcome, spent) = if self.is_slow(domain) {
            *ended_at = None;
            self.run_in_pool(script, route, call).await
        } else {
            let began_at = ended_at.unwrap_or_else(clock::thread_cpu);
            let (outcome, spent) = timed(script, route, call, began_at);
            *ended_at = Some(began_at + spent);
            (outcome, spent)
        };
        metrics.script_ran(route, spent);
        if spent >= SLOW_RUN {
            self.slow.lock().unwrap_or_else(PoisonError::into_inner).insert(domain, clock::now());
        }
        outcome.inspect_err(|error| metrics.script_failed(route, &error.function, error.line, error.field.as_deref(), &error.message))
    }

    async fn run_in_pool(&self, script: &Arc<Script>, route: Route, call: Call) -> (Result<Verdict, RouteError>, Duration) {
        let lost = || RouteError { function: route.as_str().to_owned(), line: 0, field: None, message: "the run was lost".to_owned() };
        let Ok(_thread) = self.pool.acquire().await else { return (Err(lost()), Duration::ZERO) };
        let script = Arc::clone(script);
        let run = tokio::task::spawn_blocking(move || timed(&script, route, call, clock::thread_cpu()));
        run.await.unwrap_or_else(|_| (Err(lost()), Duration::ZERO))
    }

    fn is_slow(&self, domain: &str) -> bool {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).contains(domain, clock::now())
    }

    /// Checks script and data each second until `shutdown`, and loads both when one has changed.
    pub(crate) async fn watch(self: Arc<Self>, metrics: Arc<WorkerMetrics>, shutdown: CancellationToken) {
        if !is_configured(&self.config) {
            shutdown.cancelled().await;
            return;
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while shutdown.run_until_cancelled(look.tick()).await.is_some() {
            let routes = Arc::clone(&self);
            // Reading and compiling take milliseconds: not on a thread that serves requests.
            match tokio::task::spawn_blocking(move || routes.reload()).await {
                Ok(Some(Ok(()))) => metrics.script_reloaded(),
                Ok(Some(Err(error))) => metrics.script_not_reloaded(error.reason(), &error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Loads script and data if one has changed since the last check; `None` if not.
    fn reload(&self) -> Option<Result<(), ScriptError>> {
        let stamp = stamp_of(&self.config);
        let mut seen = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamp {
            return None;
        }
        // A bad file is reported once, not each second.
        *seen = stamp;
        drop(seen);
        Some(Script::load(&self.config).and_then(|script| self.replace(script)))
    }

    /// Takes a script into use, unless it lacks a route that the one before it has: a name mistyped would allow everything.
    fn replace(&self, script: Script) -> Result<(), ScriptError> {
        if let Some(old) = &*self.script.load() {
            keeps_routes(old, &script, &self.config)?;
        }
        // those of the script at start are said with those of the configuration
        for warning in script.warnings() {
            tracing::warn!(warning, "route script may not be what was meant");
        }
        self.script.store(Some(Arc::new(script)));
        Ok(())
    }
}

/// Refuses to take a route away from a script in use: whoever means that leaves the function there, empty.
fn keeps_routes(old: &Script, new: &Script, config: &RoutesConfig) -> Result<(), ScriptError> {
    let lost = Route::ALL.into_iter().filter(|route| !new.has(*route)).find_map(|route| old.function(route));
    lost.map_or(Ok(()), |function| {
        let near = names::near(&new.ast, function, config).map(str::to_owned);
        Err(ScriptError::Lost { path: config.script.clone(), function: function.to_owned(), near })
    })
}

/// Runs a route from this processor time of the thread on, and returns how much it took: waiting for a processor does not make a run
/// slow.
fn timed(script: &Script, route: Route, call: Call, began_at: Duration) -> (Result<Verdict, RouteError>, Duration) {
    let outcome = script.run_at(route, call, began_at);
    (outcome, clock::thread_cpu().saturating_sub(began_at))
}

fn stamp_of(config: &RoutesConfig) -> Stamp {
    (FileStamp::of(&config.script), config.data.file().and_then(FileStamp::of))
}

fn is_configured(config: &RoutesConfig) -> bool {
    !config.script.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RouteData;
    use crate::feature::{FeatureState, FeatureTable};

    #[test]
    fn a_changed_file_is_taken_into_use_and_a_bad_one_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.rhai");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("fn dfks_get(dfks) {}");
        let routes = Routes::load(&RoutesConfig { script: path.clone(), ..RoutesConfig::default() }).unwrap();
        assert!(routes.script_with(Route::Get).is_some() && routes.script_with(Route::Set).is_none());
        assert!(routes.reload().is_none(), "unchanged");
        write("fn dfks_get(dfks) {} fn dfks_set(dfks) {}");
        assert!(matches!(routes.reload(), Some(Ok(()))));
        assert!(routes.script_with(Route::Set).is_some());
        write("fn dfks_set(dfks) {\n  dfks.status = ;\n}");
        assert!(matches!(routes.reload(), Some(Err(ScriptError::Compile { line: 2, .. }))));
        assert!(routes.reload().is_none(), "reported once");
        assert!(routes.script_with(Route::Set).is_some(), "the old one stays");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(routes.reload(), Some(Err(ScriptError::Read { .. }))));
        assert!(routes.script_with(Route::Get).is_some());
        write("fn dfks_get(dfks) { dfks.status = 1; } fn dfks_set(dfks) { deny(\"x\"); }");
        assert!(matches!(routes.reload(), Some(Ok(()))));
    }

    #[test]
    fn a_changed_file_takes_no_route_away_but_by_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.rhai");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("fn dfks_set(dfks) { deny(\"x\"); }");
        let routes = Routes::load(&RoutesConfig { script: path.clone(), ..RoutesConfig::default() }).unwrap();
        for (text, near) in [("fn dfks_sett(dfks) { deny(\"x\"); }", Some("dfks_sett")), ("", None), ("fn dfks_get(dfks) { }", None)] {
            write(text);
            let Some(Err(ScriptError::Lost { function, near: found, .. })) = routes.reload() else { panic!("taken: {text}") };
            assert_eq!((function.as_str(), found.as_deref()), ("dfks_set", near), "{text}");
            assert!(routes.script_with(Route::Set).is_some() && routes.script_with(Route::Get).is_none(), "the old one stays");
        }
        write("fn dfks_set(dfks) {}  fn dfks_get(dfks) {}");
        assert!(matches!(routes.reload(), Some(Ok(()))));
        assert!(routes.script_with(Route::Get).is_some());
    }

    #[test]
    fn data_that_changes_is_taken_into_use_and_bad_data_keeps_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (script, data) = (dir.path().join("routes.rhai"), dir.path().join("words.json"));
        std::fs::write(&script, "fn dfks_set(dfks) { deny(data.word); }").unwrap();
        std::fs::write(&data, r#"{"word": "one"}"#).unwrap();
        let file = RouteData::File(data.clone());
        let routes = Routes::load(&RoutesConfig { script, data: file, ..RoutesConfig::default() }).unwrap();
        let word = || {
            let table = Arc::new(FeatureTable::built_in());
            let call = Call::new(Route::Set, table, "sip:alice@h", None, FeatureState::new("DoNotDisturb"));
            routes.script_with(Route::Set).unwrap().run(Route::Set, call).unwrap().denied.unwrap()
        };
        assert!(routes.reload().is_none() && word() == "one");
        std::fs::write(&data, r#"{"word": "three"}"#).unwrap();
        assert!(matches!(routes.reload(), Some(Ok(()))));
        assert_eq!(word(), "three");
        std::fs::write(&data, r#"{"word": "#).unwrap();
        assert!(matches!(routes.reload(), Some(Err(ScriptError::Data(_)))));
        assert!(routes.reload().is_none(), "reported once");
        std::fs::remove_file(&data).unwrap();
        assert!(matches!(routes.reload(), Some(Err(ScriptError::Data(_)))));
        assert_eq!(word(), "three");
    }

    #[test]
    fn without_a_script_there_is_nothing_to_run_and_a_missing_one_is_an_error() {
        let routes = Routes::load(&RoutesConfig::default()).unwrap();
        assert!(Route::ALL.into_iter().all(|route| routes.script_with(route).is_none()));
        let missing = RoutesConfig { script: "no/such/file.rhai".into(), ..RoutesConfig::default() };
        assert!(matches!(Routes::load(&missing), Err(ScriptError::Read { .. })));
    }
}

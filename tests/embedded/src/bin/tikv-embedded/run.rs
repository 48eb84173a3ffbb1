//! The cluster with its admin port and its script, until Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tikv_embedded::control::{BadScript, Script};
use tikv_embedded::{Admin, Builder, Cluster, ControlError, StartError, State};

use crate::options::Options;
use crate::table;

/// How often the table is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);
/// Another screen of the terminal, and back to the one before.
const OTHER_SCREEN: &str = "\x1b[?1049h";
const OLD_SCREEN: &str = "\x1b[?1049l";
/// The cursor goes to the top; what is there is cleared.
const TOP: &str = "\x1b[H\x1b[J";

/// Why the program ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("could not open the admin port")]
    Admin(#[source] io::Error),
    #[error("could not read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no script", .path.display())]
    BadScript { path: PathBuf, source: BadScript },
    #[error("line {line} of the script could not be carried out")]
    Script { line: usize, source: ControlError },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    /// Whether the command line, or what it names, asks for what cannot be.
    pub(crate) fn is_bad_usage(&self) -> bool {
        matches!(self, Self::Start(StartError::Number { .. }) | Self::BadScript { .. })
    }
}

fn read_script(path: PathBuf) -> Result<Script, Failure> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Script::parse(&text).map_err(|source| Failure::BadScript { path, source }),
        Err(source) => Err(Failure::Unreadable { path, source }),
    }
}

/// Serves until Ctrl-C.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let script = options.script.map(read_script).transpose()?;
    let builder = Builder::default()
        .stores(options.stores)
        .pd_members(options.pd_members)
        .port(options.pd_port)
        .api_version(options.api);
    let cluster = match options.regions {
        Some(regions) => builder.regions(regions).start().wait()?,
        None => builder.keyspace_bounds().start().wait()?,
    };
    let cluster = Arc::new(cluster);
    let admin = options.admin_port.map(|port| Admin::start(Arc::clone(&cluster), port));
    let admin = admin.transpose().map_err(Failure::Admin)?;
    greet(&cluster, admin.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::Io),
            failure = follow(&cluster, script) => Err(failure),
            drawn = show(&cluster) => drawn.map_err(Failure::Io),
        }
    });
    // A step of the script that waits is not waited for.
    runtime.shutdown_background();
    cluster.stop();
    ended
}

fn greet(cluster: &Cluster, admin: Option<&Admin>) -> io::Result<()> {
    let admin = admin.map(|admin| format!("TIKV_ADMIN=http://{}\n", admin.address())).unwrap_or_default();
    // In one piece: a reader that closes the pipe behind the first line must not end the cluster.
    let text = format!(
        "TIKV_PD={}\n{admin}\
        Give the address behind TIKV_PD= to a TiKV client as its PD endpoint.\n\
        The data is in memory; Ctrl-C ends the cluster and forgets it.\n",
        cluster.pd_addresses().join(",")
    );
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Carries the script out; returns only if that fails.
async fn follow(cluster: &Arc<Cluster>, script: Option<Script>) -> Failure {
    let begin = tokio::time::Instant::now();
    for step in script.iter().flat_map(Script::steps).cloned() {
        tokio::time::sleep_until(begin + step.at).await;
        let cluster = Arc::clone(cluster);
        let done = tokio::task::spawn_blocking(move || cluster.carry_out(&step.instruction)).await;
        match done {
            Ok(Ok(_)) => {}
            Ok(Err(source)) => return Failure::Script { line: step.line, source },
            Err(panicked) => return Failure::Io(panicked.into()),
        }
    }
    std::future::pending().await
}

/// Draws the table on a terminal; elsewhere it draws nothing and does not return.
async fn show(cluster: &Cluster) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return std::future::pending().await;
    }
    let _screen = Screen::take()?;
    let mut before: Option<(State, Instant)> = None;
    loop {
        let state = cluster.state();
        let now = Instant::now();
        let since = before.as_ref().map(|(state, at)| (state, now.duration_since(*at)));
        let size = terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0));
        let text = table::draw(&state, since, size);
        {
            let mut out = io::stdout().lock();
            write!(out, "{TOP}{text}")?;
            out.flush()?;
        }
        before = Some((state, now));
        tokio::time::sleep(REDRAW).await;
    }
}

/// The terminal's other screen, until it is dropped.
struct Screen;

impl Screen {
    fn take() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        write!(out, "{OTHER_SCREEN}")?;
        out.flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no old screen.
        drop(write!(io::stdout().lock(), "{OLD_SCREEN}"));
    }
}

//! What a command has at hand: the engine's client, the streams, the configuration.

use std::cell::RefCell;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use api::{ApiVersion, Client, Transport};

use crate::config::Config;
use crate::create::lines::{MAX_FILE_LEN, Unreadable};
use crate::endpoint::{self, Choice, Endpoint};
use crate::error::{Error, io_text};
use crate::explain::{self, Story};
use crate::hints;
use crate::stdio::Out;
use crate::time::Zone;
use crate::{Build, Environment};

/// How long an engine in this process may go on after the command's end.
const IN_PROCESS_GRACE: Duration = Duration::from_secs(5);

/// The options before the command.
#[derive(Debug, Default)]
pub struct Global {
    /// `-H`
    pub hosts: Vec<String>,
    /// `--context`
    pub context: String,
    /// `-D`
    pub debug: bool,
    /// Only errors are said.
    pub quiet: bool,
    /// The configuration's folder.
    pub config: PathBuf,
}

/// A command's surroundings.
pub struct Session<'a> {
    /// `tare` or `docker`.
    pub program: &'a str,
    /// The command's name as in `run`: the last word of its path.
    pub name: String,
    /// The word it was called by.
    pub called: String,
    /// What the program says of itself.
    pub build: &'a Build,
    /// Standard output.
    pub out: Out,
    /// Standard error.
    pub err: Out,
    /// Standard input.
    pub stdin: BorrowedFd<'static>,
    /// `config.json`
    pub config: Config,
    /// `-D`
    pub debug: bool,
    quiet: bool,
    environment: &'a Environment,
    choice: Choice,
    client: RefCell<Option<Client>>,
    trace: RefCell<Option<Story>>,
    said: RefCell<String>,
}

impl<'a> Session<'a> {
    /// For one command.
    pub fn new(environment: &'a Environment, path: &str, called: &str, global: &Global) -> Session<'a> {
        let config = Config::read(&global.config);
        // Docker's own context counts only where we stand in for Docker's CLI (DESIGN).
        let docker = environment.program == "docker";
        let config_context = if docker { config.current_context.clone() } else { String::new() };
        Session {
            program: &environment.program,
            name: path.rsplit(' ').next().unwrap_or(path).to_owned(),
            called: called.to_owned(),
            build: &environment.build,
            out: Out::new(environment.stdio.stdout),
            err: Out::new(environment.stdio.stderr),
            stdin: environment.stdio.stdin,
            config,
            debug: global.debug,
            quiet: global.quiet,
            environment,
            choice: Choice { hosts: global.hosts.clone(), context: global.context.clone(), config_context },
            client: RefCell::new(None),
            trace: RefCell::new(None),
            said: RefCell::new(String::new()),
        }
    }

    /// Runs a command on a runtime of its own, with its story if one is asked for.
    pub fn block_on<F>(
        self,
        explain: Option<explain::Form>,
        command: impl FnOnce(Self) -> F,
    ) -> Result<i32, Error>
    where
        F: Future<Output = (Self, Result<(), Error>)>,
    {
        if let Some(problem) = &self.config.problem {
            self.warn(problem);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("the runtime", e))?;
        // Calls are tasks of this one thread: the client's futures need not move between threads.
        let tasks = tokio::task::LocalSet::new();
        let (in_process, result) = tasks.block_on(&runtime, async {
            if let Some(form) = explain {
                let story = Story::new(form, self.err);
                *self.trace.borrow_mut() = Some(story);
            }
            let (session, result) = command(self).await;
            let story = session.trace.borrow_mut().take();
            if let Some(story) = story {
                story.finish().await;
            }
            let client = session.client.borrow_mut().take();
            let result = match result {
                Err(error) => {
                    let hint = session.hint(&error, client.clone()).await;
                    Err(error.advised(hint))
                }
                fine => fine,
            };
            (client.is_some_and(|c| c.transport().is_in_process()), result)
        });
        drop(tasks);
        if in_process {
            runtime.shutdown_timeout(IN_PROCESS_GRACE);
        } else {
            runtime.shutdown_background();
        }
        result.map(|()| 0)
    }

    /// The engine's client; connects at its first call.
    pub async fn client(&self) -> Result<Client, Error> {
        if let Some(client) = self.client.borrow().as_ref() {
            return Ok(client.clone());
        }
        let transport = self.transport()?;
        let mut client = Client::new(transport.clone());
        if let Some(version) = variable("DOCKER_API_VERSION").and_then(|v| v.parse::<ApiVersion>().ok()) {
            client = client.with_version(version);
        }
        let id = self.trace.borrow().as_ref().map(|s| s.id().to_owned());
        if let Some(id) = id {
            client = client.with_header("x-tare-trace", &id)?;
            let begun = self.trace.borrow_mut().as_mut().and_then(|story| {
                story.follow(Client::new(transport));
                story.take_begun()
            });
            if let Some(begun) = begun {
                explain::begin(begun).await;
            }
        }
        *self.client.borrow_mut() = Some(client.clone());
        self.announce(&client).await;
        Ok(client)
    }

    /// The context in use: others than the default are refused.
    pub fn context_name(&self) -> &'static str {
        "default"
    }

    /// The engine's address, once a command has turned to it.
    pub fn engine_name(&self) -> Option<String> {
        self.client.borrow().as_ref().map(|c| c.transport().to_string())
    }

    /// The address by which an engine was asked for, or "".
    pub fn chosen_host(&self) -> String {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty());
        let first = self.choice.hosts.first().cloned();
        first.or_else(|| set("TARE_HOST")).or_else(|| set("DOCKER_HOST")).unwrap_or_default()
    }

    /// The local time zone.
    pub fn zone(&self) -> Zone {
        Zone::local()
    }

    /// An error of one of several things, said at once; what is advised to it stands at the end.
    pub fn fail(&self, error: &Error) {
        let text = error.to_string();
        self.err.note(&text);
        self.said.borrow_mut().push_str(&text);
    }

    /// What is advised to the command's error.
    async fn hint(&self, error: &Error, client: Option<Client>) -> Option<String> {
        if self.quiet || !hints::are_on() || matches!(error, Error::OutputClosed) {
            return None;
        }
        let text = format!("{}\n{error}", self.said.borrow());
        let facts = hints::facts::gather(&text, self.program, client).await;
        hints::of(&text, &facts)
    }

    /// A warning on standard error.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            self.err.note(text);
        }
    }

    /// For `-D`.
    pub fn debug(&self, text: &str) {
        if self.debug {
            self.err.note(&format!("DEBUG: {text}"));
        }
    }

    /// Docker refuses a terminal for the container where standard input is none.
    pub fn check_tty(&self, attach_stdin: bool, tty: bool) -> Result<(), Error> {
        if tty && attach_stdin && !rustix::termios::isatty(self.stdin) {
            return Err(Error::failed("the input device is not a TTY"));
        }
        Ok(())
    }

    /// Keys that detach: the option, the configuration, or "" for the default.
    pub fn detach_keys(&self, option: &str) -> String {
        if option.is_empty() { self.config.detach_keys.clone() } else { option.to_owned() }
    }

    fn transport(&self) -> Result<Transport, Error> {
        let endpoint = endpoint::resolve(&self.choice, variable).map_err(|text| {
            Error::failed(format!("Failed to initialize: unable to resolve docker endpoint: {text}"))
        })?;
        self.debug(&format!("engine: {endpoint:?}"));
        match endpoint {
            Endpoint::Chosen(address) => Ok(address.transport()),
            Endpoint::Daemon => Ok(Transport::Unix(endpoint::DEFAULT_SOCKET.into())),
            Endpoint::InProcess => (self.environment.in_process)().map_err(Error::failed),
        }
    }

    /// A foreign engine is announced once, to a person.
    async fn announce(&self, client: &Client) {
        if client.transport().is_in_process()
            || self.program == "docker"
            || self.quiet
            || !self.err.is_terminal()
        {
            return;
        }
        if let Ok(ping) = client.ping().await
            && !ping.server.is_empty()
            && !ping.server.contains("tare")
        {
            self.err.note(&format!("tare: using the engine at {} ({})", client.transport(), ping.server));
        }
    }
}

/// A variable of this process.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A file of options, whole; the error has Go's words.
pub fn read_file(path: &str) -> Result<Vec<u8>, Unreadable> {
    let failed = |opened: bool| {
        let call = if opened { "read" } else { "open" };
        move |e: std::io::Error| Unreadable { text: format!("{call} {path}: {}", io_text(&e)), opened }
    };
    let file = std::fs::File::open(path).map_err(failed(false))?;
    let mut out = Vec::new();
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut out).map_err(failed(true))?;
    if out.len() as u64 > MAX_FILE_LEN {
        let text = format!("read {path}: larger than {MAX_FILE_LEN} bytes");
        return Err(Unreadable { text, opened: true });
    }
    Ok(out)
}

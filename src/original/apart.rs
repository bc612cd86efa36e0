//! PDF is read in a process of its own, which may take so much time and memory and no more.
//!
//! A PDF is a program: whatever reads it may panic, never end, overflow its stack, or unpack a small stream that fills the
//! memory. Threads can be neither stopped nor limited, processes can: the program starts itself again as a reader,
//! and a reader that dies costs one document. Readers wait for the next document, so that starting them costs little.
//! Where nobody said that the program may do so ([`enable`]), as in tests of the library, a thread has to do.

use std::env;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::document::{Reason, pdf};
use super::guard::guarded;

/// The argument that makes the program a reader.
const ARGUMENT: &str = "read-documents";
/// Bytes that a reader may allocate.
const MEMORY_LIMIT: u64 = 512 << 20;
/// How long a document may take.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The stack of the thread that reads: pages nest what they draw.
const STACK: usize = 16 << 20;
/// Bytes of an answer, beyond which it is no answer.
const ANSWER_LIMIT: u64 = 256 << 20;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
static IDLE: Mutex<Vec<Reader>> = Mutex::new(Vec::new());

/// What is asked of a document.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Question {
    Pages,
    Text { limit: usize },
}

/// What a document answers.
#[derive(Debug, Serialize, Deserialize)]
enum Found {
    Pages(u32),
    Text(String),
}

type Answer = Result<Found, Reason>;

/// How many pages a PDF has.
///
/// # Errors
/// When no reader can be started. What is wrong with the document is the [`Reason`].
pub fn pages(document: &[u8]) -> io::Result<Result<u32, Reason>> {
    Ok(answer(Question::Pages, document)?.map(|found| match found {
        Found::Pages(pages) => pages,
        Found::Text(_) => 0,
    }))
}

/// The text of a PDF, of at most `limit` bytes.
///
/// # Errors
/// As [`pages`].
pub fn text(document: &[u8], limit: usize) -> io::Result<Result<String, Reason>> {
    Ok(answer(Question::Text { limit }, document)?.map(|found| match found {
        Found::Text(text) => text,
        Found::Pages(_) => String::new(),
    }))
}

/// Lets documents be read in processes of their own. To be called once, by a program that asks [`is_reader`] first.
pub fn enable() {
    // The link leads to the program that runs, also when another one has taken its name meanwhile.
    let link = Path::new("/proc/self/exe");
    let program = if link.exists() { Ok(link.to_owned()) } else { env::current_exe() };
    if let Ok(program) = program {
        PROGRAM.get_or_init(|| program);
    }
}

/// Whether the program was started as a reader: all that it has to do then is [`serve`].
pub fn is_reader() -> bool {
    env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Answers questions from standard input until it ends.
pub fn serve() -> ExitCode {
    #[cfg(unix)]
    if rlimit::Resource::DATA.set(MEMORY_LIMIT, MEMORY_LIMIT).is_err() {
        return ExitCode::FAILURE;
    }
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Ok((question, document)) = receive(&mut input) {
        let answer = in_thread(question, document);
        let runs_on = matches!(answer, Err(Reason::TooSlow));
        if send_answer(&mut output, &answer).is_err() {
            return ExitCode::FAILURE;
        }
        if runs_on {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn answer(question: Question, document: &[u8]) -> io::Result<Answer> {
    let Some(program) = PROGRAM.get() else { return Ok(in_thread(question, document.to_vec())) };
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(reader) = idle
        && let Ok(answer) = reader.ask(question, document)
    {
        return Ok(answer);
    }
    // One that has read others before may have died of those.
    let reader = Reader::start(program)?;
    Ok(reader.ask(question, document).unwrap_or(Err(Reason::TooLaborious)))
}

/// Reads in a thread that is left to itself when its time is over.
fn in_thread(question: Question, document: Vec<u8>) -> Answer {
    let (sender, receiver) = sync_channel(1);
    let read = move || match question {
        Question::Pages => pdf::pages(&document).map(Found::Pages),
        Question::Text { limit } => pdf::text(&document, limit).map(Found::Text),
    };
    let work = move || drop(guarded(read).map(|read| sender.send(read)));
    thread::Builder::new().name("pdf".to_owned()).stack_size(STACK).spawn(work).map_err(|_| Reason::TooLaborious)?;
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(Reason::TooSlow),
        Err(RecvTimeoutError::Disconnected) => Err(Reason::damaged("a page breaks the rules")),
    }
}

/// A process that reads; it ends with its owner.
struct Reader {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        // It needs none of the program's secrets, and what it says of its death may hold parts of a document.
        command.arg(ARGUMENT).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(questions), Some(answers)) => Ok(Self { process, questions, answers: BufReader::new(answers) }),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Asks, and keeps the reader for the next question where it can answer one.
    fn ask(mut self, question: Question, document: &[u8]) -> io::Result<Answer> {
        send(&mut self.questions, &serde_json::to_vec(&question)?)?;
        send(&mut self.questions, document)?;
        let answer: Answer = serde_json::from_slice(&take(&mut self.answers, ANSWER_LIMIT)?)?;
        if !matches!(answer, Err(Reason::TooSlow)) {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        Ok(answer)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn receive(input: &mut impl Read) -> io::Result<(Question, Vec<u8>)> {
    let question = serde_json::from_slice(&take(input, ANSWER_LIMIT)?)?;
    Ok((question, take(input, ANSWER_LIMIT)?))
}

fn send_answer(output: &mut impl Write, answer: &Answer) -> io::Result<()> {
    send(output, &serde_json::to_vec(answer)?)
}

/// Writes bytes after their number.
fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

fn take(from: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    from.take(length.min(limit)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_taken() {
        let mut sent = Vec::new();
        send(&mut sent, br#"{"Text":{"limit":7}}"#).unwrap();
        send(&mut sent, b"%PDF").unwrap();
        let (question, document) = receive(&mut &sent[..]).unwrap();
        assert!(matches!(question, Question::Text { limit: 7 }));
        assert_eq!(document, b"%PDF");
        for length in 0..sent.len() {
            assert!(receive(&mut &sent[..length]).is_err(), "{length}");
        }
    }
}

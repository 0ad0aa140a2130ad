//! Feeds on one child: reads what it prints and complains of, holds it to its budget, ends it where it must, reaps it.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::budget::{Budget, Meter, Verdict, WINDOW};
use super::complaint::Complaint;
use super::limits::{EXIT_PATIENCE, HUNG, LOOK, MAX_ERROR_BYTES, PATIENCE, READ_BYTES};
use super::lines::Lines;
use super::mailbox::{Mailbox, cut};
use super::program::Program;
use super::reader::Reader;
use super::spawn::{Running, describe};
use super::usage::cpu_time;

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By order.
    Ordered,
    /// It cost too much.
    OverBudget(String),
    /// This host lacks what it needs, or it is wrong.
    Lasting(String),
    /// By itself.
    Failed(String),
}

/// One child and everything that is known of it.
pub struct Feed<'a> {
    running: Running,
    mailbox: &'a Mailbox,
    reader: Reader,
    lines: Lines,
    complaints: Lines,
    buffer: Vec<u8>,
    /// What it is being ended for, and when patience ends.
    ending: Option<(End, Instant)>,
    /// The complaint that tells best why it ended.
    complaint: Option<(Complaint, String)>,
    last_end: Instant,
    patience: Duration,
    measured: Instant,
    cpu: Duration,
}

impl<'a> Feed<'a> {
    /// Begins to feed on `running`.
    pub fn new(running: Running, program: &Program, mark: &str, budget: &Budget, mailbox: &'a Mailbox) -> Self {
        Feed {
            running,
            mailbox,
            reader: Reader::new(mark, program.header(), budget.keys),
            lines: Lines::default(),
            complaints: Lines::default(),
            buffer: vec![0; READ_BYTES],
            ending: None,
            complaint: None,
            last_end: Instant::now(),
            patience: HUNG + Duration::from_secs(u64::from(program.interval_s())),
            measured: Instant::now(),
            cpu: Duration::ZERO,
        }
    }

    /// Until the child is gone.
    pub fn run(mut self, meter: &mut Meter) -> End {
        while self.running.stdout.is_some() || self.running.stderr.is_some() {
            self.wait(meter.may_read());
            let began = Instant::now();
            if meter.may_read() {
                self.read_output(meter);
            }
            self.read_complaints(meter);
            self.mailbox.update(|fare| fare.reading += began.elapsed());
            self.look(meter);
        }
        self.reap()
    }

    /// Sleeps until there is something to read, or it is time to look around.
    fn wait(&self, reading: bool) {
        let stdout = self
            .running
            .stdout
            .as_ref()
            .filter(|_| reading)
            .map(|s| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN));
        let stderr = self.running.stderr.as_ref().map(|s| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN));
        let mut streams: Vec<PollFd<'_>> = stdout.into_iter().chain(stderr).collect();
        if streams.is_empty() {
            return std::thread::sleep(LOOK);
        }
        // Interrupted or refused: look around, and come back.
        let _ = poll(&mut streams, LOOK.try_into().ok().as_ref());
    }

    fn read_output(&mut self, meter: &mut Meter) {
        let Some(stdout) = &mut self.running.stdout else { return };
        let Some(read) = read_some(stdout, &mut self.buffer) else {
            self.running.stdout = None;
            return;
        };
        let (mut count, mut whole) = (0, Vec::new());
        let reader = &mut self.reader;
        self.lines.feed(&self.buffer[..read], |line| {
            count += 1;
            whole.extend(reader.line(line));
        });
        meter.read(read, count);
        self.mailbox.update(|fare| (fare.bytes, fare.lines) = (fare.bytes + read as u64, fare.lines + count));
        let now = Instant::now();
        for interval in whole {
            self.last_end = now;
            meter.refused(interval.refused);
            self.mailbox.deliver(interval, now);
        }
        let too_long = self.lines.take_too_long();
        let noise = self.reader.take_noise();
        if too_long + noise > 0 {
            self.mailbox.error(&format!("{noise} lines not understood, {too_long} too long"));
            self.mailbox.update(|fare| fare.errors += too_long + noise - 1);
        }
    }

    fn read_complaints(&mut self, meter: &mut Meter) {
        let Some(stderr) = &mut self.running.stderr else { return };
        let Some(read) = read_some(stderr, &mut self.buffer) else {
            self.running.stderr = None;
            return;
        };
        let mut lines = Vec::new();
        self.complaints.feed(&self.buffer[..read], |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        for line in lines {
            self.complain(&line, meter);
        }
    }

    fn complain(&mut self, line: &str, meter: &mut Meter) {
        let complaint = Complaint::read(line);
        match complaint {
            Complaint::Note => return,
            Complaint::Drops(events) => {
                meter.dropped(events, Instant::now());
                self.mailbox.update(|fare| fare.drops += events);
                return self.mailbox.remark(line);
            }
            _ => self.mailbox.error(line),
        }
        let better =
            self.complaint.as_ref().is_none_or(|(known, _)| !known.is_lasting() && *known != Complaint::Aborted);
        if complaint != Complaint::Fault && better {
            self.complaint = Some((complaint, cut(line, MAX_ERROR_BYTES).to_owned()));
        }
    }

    /// Orders, budget, clocks.
    fn look(&mut self, meter: &mut Meter) {
        let now = Instant::now();
        if now.duration_since(self.measured) >= WINDOW {
            self.measure(now);
        }
        let verdict = meter.look(now, self.cpu);
        if let Verdict::Warn(excess) | Verdict::Stop(excess) = verdict {
            self.mailbox.update(|fare| fare.over_budget += 1);
            self.mailbox.error(&excess.to_string());
        }
        if let Some((_, patience)) = &self.ending {
            if now >= *patience || self.mailbox.killing() {
                self.running.kill();
            }
        } else if self.mailbox.stopping() {
            self.end(End::Ordered, now + PATIENCE);
        } else if let Verdict::Stop(excess) = verdict {
            self.end(End::OverBudget(excess.to_string()), now + EXIT_PATIENCE);
        } else if now.duration_since(self.last_end) > self.patience {
            let text = format!("no interval ended for {} s", now.duration_since(self.last_end).as_secs());
            self.mailbox.error(&text);
            self.end(End::Failed(text), now + EXIT_PATIENCE);
        }
    }

    fn measure(&mut self, now: Instant) {
        self.measured = now;
        let cpu = cpu_time(self.running.pid()).unwrap_or(self.cpu).max(self.cpu);
        let used = cpu.saturating_sub(self.cpu);
        self.cpu = cpu;
        self.mailbox.update(|fare| fare.cpu += used);
    }

    fn end(&mut self, end: End, patience: Instant) {
        self.running.terminate();
        self.ending = Some((end, patience));
    }

    /// Both streams are closed: the child has ended, or is about to.
    fn reap(mut self) -> End {
        let mut patience = Instant::now() + EXIT_PATIENCE;
        let status = loop {
            if let Some(status) = self.running.ended() {
                break status;
            }
            if Instant::now() >= patience {
                self.running.kill();
                patience += EXIT_PATIENCE;
            }
            std::thread::sleep(LOOK / 10);
        };
        self.last_words(status.success());
        if let Some((end, _)) = self.ending {
            return end;
        }
        let how = describe(status);
        match self.complaint {
            Some((complaint, text)) if complaint.is_lasting() && !status.success() => End::Lasting(text),
            Some((_, text)) => End::Failed(format!("{text} ({how})")),
            None => {
                let text = format!("dtrace ended: {how}");
                self.mailbox.error(&text);
                End::Failed(text)
            }
        }
    }

    /// What came after the last end mark: after a clean end it is what was left in the aggregations; else it may be
    /// half of something, and goes.
    fn last_words(&mut self, clean: bool) {
        let interval = self.reader.finish();
        if clean && !interval.is_empty() {
            self.mailbox.deliver(interval, Instant::now());
        } else if !interval.is_empty() {
            self.mailbox.update(|fare| fare.drops += interval.rows.len() as u64 + interval.refused);
        }
    }
}

/// Reads what is there: nothing is 0, the end is `None`.
fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(0) => None,
        Ok(read) => Some(read),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
        Err(_) => None,
    }
}

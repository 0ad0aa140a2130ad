//! What happens when: a test a line of the table at the head of link/src/order/mod.rs.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use zonescope_link::order::{Note, Options, Reason};

use crate::world::{Generator, HOST, S, Subscriber};

/// A generator in its first epoch that has published for a while, and a subscriber that has joined it.
fn joined() -> (Generator, Subscriber) {
    let mut generator = Generator::start(HOST, 100, 1000, None);
    let mut subscriber = Subscriber::new(Options::default(), 2);
    for _ in 0..5 {
        generator.tick(&["a", "b"]);
    }
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    (generator, subscriber)
}

/// A generator with a spool, and a subscriber that has seen all of it: one tick.
fn joined_with_spool() -> (TempDir, Generator, Subscriber) {
    let spool = tempfile::tempdir().unwrap();
    let mut generator = Generator::start(HOST, 100, 1000, Some(spool.path()));
    let mut subscriber = Subscriber::new(Options::default(), 1);
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    (spool, generator, subscriber)
}

/// The generator's next epoch: its first tick arrives, and the subscriber asks for what it misses.
fn started_again(spool: Option<&Path>, subscriber: &mut Subscriber) -> Generator {
    let mut generator = Generator::start(HOST, 200, 1000, spool);
    subscriber.connected(0);
    tick(&mut generator, subscriber);
    subscriber.recover(&generator);
    generator
}

/// A tick that arrives.
fn tick(generator: &mut Generator, subscriber: &mut Subscriber) {
    subscriber.deliver(0, generator.tick(&["a", "b"]));
}

fn notes(subscriber: &mut Subscriber) -> Vec<Note> {
    std::iter::from_fn(|| subscriber.core.note()).collect()
}

#[test]
fn who_joins_a_running_generator_misses_nothing_earlier() {
    let (mut generator, mut subscriber) = joined();
    tick(&mut generator, &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7"]);
    assert!(subscriber.gaps().is_empty() && subscriber.pending.is_empty());
    // A zone that comes later begins with 1, even if its first frames are lost.
    generator.tick(&["a", "b", "new"]);
    tick(&mut generator, &mut subscriber);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("new"), ["100:1"]);
}

#[test]
fn frames_that_were_lost_are_recovered_and_other_topics_do_not_wait() {
    let (mut generator, mut subscriber) = joined();
    let lost = generator.publish("a");
    let messages = [generator.publish("a"), generator.publish("b"), generator.announce(false)];
    subscriber.deliver(0, messages);
    assert_eq!(subscriber.of("a"), ["100:6"]);
    assert_eq!(subscriber.of("b"), ["100:6", "100:7"], "b does not wait for a");
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7", "100:8"]);
    // It comes after all, late.
    subscriber.deliver(0, [lost]);
    assert_eq!(subscriber.of("a").len(), 3);
}

#[test]
fn the_last_frame_of_a_zone_that_ended_is_recovered() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    subscriber.deliver(0, [generator.announce(false)]);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7"]);
}

#[test]
fn what_the_ring_no_longer_has_is_one_gap() {
    let mut generator = Generator::start(HOST, 100, 10, None);
    let mut subscriber = Subscriber::new(Options::default(), 1);
    subscriber.connected(0);
    subscriber.deliver(0, generator.tick(&["a"]));
    for _ in 0..20 {
        generator.tick(&["a"]);
    }
    subscriber.deliver(0, generator.tick(&["a"]));
    subscriber.recover(&generator);
    let a = subscriber.of("a");
    let gap = subscriber.gaps().into_iter().find(|gap| gap.topic.zone == "a").unwrap();
    assert!(gap.first == 2 && gap.last > 10 && gap.reason == Reason::Evicted, "{gap:?}");
    assert_eq!(a[..3], ["100:1".to_owned(), format!("100:2-{} evicted", gap.last), format!("100:{}", gap.last + 1)]);
    assert_eq!(a.last().unwrap(), "100:22");
    assert_eq!(subscriber.gaps().len(), 2, "one of a, one of the host's own");
}

#[test]
fn a_subscriber_resumes_where_its_store_says() {
    let (mut generator, mut subscriber) = joined();
    for _ in 0..3 {
        generator.tick(&["a", "b", "born meanwhile"]);
    }
    subscriber.restart();
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7", "100:8", "100:9", "100:10"]);
    assert_eq!(subscriber.of("born meanwhile"), ["100:1", "100:2", "100:3"]);
    assert!(subscriber.gaps().is_empty());
}

#[test]
fn a_restart_in_order_without_spool_loses_nothing_that_arrived_before() {
    let (mut generator, mut subscriber) = joined();
    subscriber.deliver(0, [generator.announce(true)]);
    subscriber.lost(0);
    let mut generator = Generator::start(HOST, 200, 1000, None);
    generator.tick(&["a"]);
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "200:1", "200:2"]);
    assert!(subscriber.gaps().is_empty(), "{:?}", subscriber.gaps());
    assert_eq!(notes(&mut subscriber), [Note::Restarted { host_id: HOST.into(), in_order: true }]);
}

#[test]
fn a_crash_without_spool_is_on_record() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    let later = generator.publish("a");
    subscriber.deliver(0, [later]);
    subscriber.lost(0);
    let mut generator = Generator::start(HOST, 200, 1000, None);
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:6"], "the new epoch waits for the old one");
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7-7 restarted", "100:8", "200:1"]);
    assert_eq!(subscriber.of("b"), ["100:6", "200:1"]);
    assert_eq!(subscriber.of(""), ["100:6", "100:7.. restarted", "200:1"], "nobody knows what else there was");
}

#[test]
fn a_restart_with_spool_loses_nothing() {
    let (spool, mut generator, mut subscriber) = joined_with_spool();
    // The link is cut; the generator goes on, and is restarted in order.
    subscriber.lost(0);
    generator.tick(&["a", "b"]);
    generator.tick(&["a", "short-lived"]);
    generator.announce(true);
    drop(generator);
    started_again(Some(spool.path()), &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:1", "100:2", "100:3", "200:1"]);
    assert_eq!(subscriber.of("short-lived"), ["100:1"]);
    assert_eq!(subscriber.of(""), ["100:1", "100:2", "100:3", "100:4", "200:1"]);
    assert!(subscriber.gaps().is_empty(), "{:?}", subscriber.gaps());
}

#[test]
fn a_crash_with_spool_recovers_what_was_written_and_says_that_there_may_have_been_more() {
    let (spool, mut generator, mut subscriber) = joined_with_spool();
    subscriber.lost(0);
    generator.tick(&["a", "b"]);
    drop(generator);
    started_again(Some(spool.path()), &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:1", "100:2", "200:1"]);
    assert_eq!(subscriber.of(""), ["100:1", "100:2", "100:3.. restarted", "200:1"]);
}

#[test]
fn several_restarts_that_went_unnoticed_lose_nothing_with_a_spool() {
    let (spool, mut generator, mut subscriber) = joined_with_spool();
    subscriber.deliver(0, [generator.announce(true)]);
    subscriber.lost(0);
    drop(generator);
    for epoch in [110, 120] {
        let mut generator = Generator::start(HOST, epoch, 1000, Some(spool.path()));
        generator.tick(&["a", "b"]);
        generator.announce(true);
    }
    started_again(Some(spool.path()), &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:1", "110:1", "120:1", "200:1"]);
    assert!(subscriber.gaps().is_empty(), "{:?}", subscriber.gaps());
}

#[test]
fn a_subscriber_that_was_away_while_the_generator_restarted_resumes_across_it() {
    let (spool, mut generator, mut subscriber) = joined_with_spool();
    generator.tick(&["a", "b"]);
    generator.announce(true);
    drop(generator);
    let mut generator = Generator::start(HOST, 200, 1000, Some(spool.path()));
    generator.tick(&["a", "b"]);
    subscriber.restart();
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:1", "100:2", "200:1", "200:2"]);
    assert!(subscriber.gaps().is_empty(), "{:?}", subscriber.gaps());
}

#[test]
fn who_resumes_behind_the_last_host_frame_of_an_epoch_still_learns_what_it_announced() {
    let (spool, mut generator, mut subscriber) = joined_with_spool();
    // Of the last tick only the host frame arrives; before the rest is asked for both sides end.
    generator.publish("short-lived");
    subscriber.deliver(0, [generator.announce(true)]);
    subscriber.restart();
    drop(generator);
    let generator = started_again(Some(spool.path()), &mut subscriber);
    subscriber.pass(S);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("short-lived"), ["100:1"]);
    assert_eq!(subscriber.of(""), ["100:1", "100:2", "200:1"]);
    assert!(subscriber.gaps().is_empty(), "it took leave: {:?}", subscriber.gaps());
}

#[test]
fn another_host_at_the_same_address_is_a_host_of_its_own() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    let later = generator.publish("a");
    subscriber.deliver(0, [later]);
    subscriber.lost(0);
    let mut other = Generator::start("h2", 300, 1000, None);
    subscriber.connected(0);
    subscriber.deliver(0, other.tick(&["a", "b"]));
    subscriber.recover(&other);
    assert_eq!(subscriber.of("a"), ["100:6", "300:1", "100:7-7 replaced", "100:8"], "both hosts have a zone a");
}

#[test]
fn two_generators_with_one_host_id_are_two_epochs_side_by_side_and_a_warning() {
    let (mut one, mut subscriber) = joined();
    let mut two = Generator::start(HOST, 50, 1000, None);
    subscriber.connected(1);
    for _ in 0..3 {
        subscriber.deliver(1, two.tick(&["a"]));
        tick(&mut one, &mut subscriber);
    }
    let a = subscriber.of("a");
    for (epoch, expected) in [("100:", vec!["100:6", "100:7", "100:8", "100:9"]), ("50:", vec!["50:1", "50:2", "50:3"])]
    {
        assert_eq!(a.iter().filter(|c| c.starts_with(epoch)).cloned().collect::<Vec<_>>(), expected);
    }
    assert!(subscriber.gaps().is_empty());
    let two = notes(&mut subscriber).into_iter().filter(|n| matches!(n, Note::Two { .. })).count();
    assert_eq!(two, 1, "said once");
}

#[test]
fn two_generators_that_take_turns_at_one_address_are_both_followed() {
    let (mut one, mut subscriber) = joined();
    let mut two = Generator::start(HOST, 50, 1000, None);
    for _ in 0..3 {
        subscriber.lost(0);
        subscriber.connected(0);
        tick(&mut two, &mut subscriber);
        subscriber.recover(&two);
        subscriber.lost(0);
        subscriber.connected(0);
        tick(&mut one, &mut subscriber);
        subscriber.recover(&one);
    }
    let frames: Vec<String> = subscriber.of("a").into_iter().filter(|c| !c.contains(' ')).collect();
    assert_eq!(frames, ["100:6", "50:1", "100:7", "50:2", "100:8", "50:3", "100:9"]);
}

#[test]
fn the_same_generator_by_two_addresses_gives_each_frame_once() {
    let (mut generator, mut subscriber) = joined();
    subscriber.connected(1);
    for _ in 0..3 {
        let messages = generator.tick(&["a", "b"]);
        subscriber.deliver(0, messages[1..].to_vec());
        subscriber.deliver(1, messages);
    }
    assert_eq!(subscriber.of("a"), ["100:6", "100:7", "100:8", "100:9"]);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a").len(), 4);
}

#[test]
fn a_clock_that_was_set_back_makes_a_new_epoch_like_any_other() {
    let (mut generator, mut subscriber) = joined();
    subscriber.deliver(0, [generator.announce(true)]);
    subscriber.lost(0);
    let mut generator = Generator::start(HOST, 1, 1000, None);
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "1:1"]);
}

#[test]
fn without_a_recovery_port_gaps_come_at_once() {
    let (mut generator, mut subscriber) = joined();
    generator.port = None;
    generator.publish("a");
    tick(&mut generator, &mut subscriber);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7-7 no_recovery", "100:8"]);
    subscriber.lost(0);
    let mut generator = Generator::start(HOST, 200, 1000, None);
    generator.port = None;
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    assert_eq!(subscriber.of("")[2..], ["100:8.. restarted", "200:1"]);
}

#[test]
fn a_recovery_that_does_not_answer_is_given_up_while_the_host_is_alive() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    for seconds in 0.. {
        tick(&mut generator, &mut subscriber);
        subscriber.fail();
        subscriber.pass(S);
        if !subscriber.gaps().is_empty() {
            assert!((29..=33).contains(&seconds), "after {seconds} s");
            break;
        }
    }
    assert_eq!(subscriber.of("a")[1], "100:7-7 unreachable");
    assert_eq!(subscriber.of("a").len(), subscriber.of("b").len() + 1);
}

#[test]
fn a_cut_link_or_a_stopped_generator_ages_no_gap() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    tick(&mut generator, &mut subscriber);
    for _ in 0..600 {
        subscriber.fail();
        subscriber.pass(S);
    }
    tick(&mut generator, &mut subscriber);
    assert!(subscriber.gaps().is_empty(), "ten minutes of silence");
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a"), ["100:6", "100:7", "100:8", "100:9"]);
}

#[test]
fn a_host_that_is_gone_for_good_is_given_up() {
    let (mut generator, mut subscriber) = joined();
    generator.publish("a");
    tick(&mut generator, &mut subscriber);
    subscriber.lost(0);
    subscriber.pass(Duration::from_secs(16 * 60));
    assert_eq!(subscriber.of("a"), ["100:6", "100:7-7 unreachable", "100:8"]);
}

#[test]
fn a_full_buffer_lets_newcomers_go_and_asks_for_them_again() {
    let mut generator = Generator::start(HOST, 100, 10_000, None);
    let options = Options { buffer_bytes: 3000, ..Options::default() };
    let mut subscriber = Subscriber::new(options, 1);
    subscriber.connected(0);
    tick(&mut generator, &mut subscriber);
    generator.publish("a");
    for _ in 0..100 {
        tick(&mut generator, &mut subscriber);
        assert!(subscriber.core.held_bytes() <= 3000 + 356);
    }
    assert_eq!((subscriber.of("a").len(), subscriber.of("b").len()), (1, 101));
    subscriber.recover(&generator);
    assert_eq!(subscriber.of("a").len(), 102);
    assert!(subscriber.gaps().is_empty());
    assert_eq!(subscriber.core.held_bytes(), 0);
}

#[test]
fn a_hostile_peer_can_make_up_neither_numbers_nor_topics_without_end() {
    let (mut generator, mut subscriber) = joined();
    let mut message = generator.publish("a");
    for sequence in [0, u64::MAX, u64::MAX - 1] {
        message.sequence = sequence;
        subscriber.deliver(0, [message.clone()]);
    }
    let mut host = generator.announce(false);
    host.announced = vec![("a".into(), u64::MAX), ("x".into(), u64::MAX)];
    subscriber.deliver(0, [host]);
    for _ in 0..3 {
        subscriber.ask(&generator, usize::MAX);
    }
    let mut topics = 0;
    for n in 0..300_000 {
        message.topic.zone = format!("made up {n}");
        message.sequence = 1;
        topics += usize::from(subscriber.core.arrived(0, message.clone(), S));
        while subscriber.core.pop().is_some() {}
    }
    assert!(topics <= zonescope_link::order::MAX_TOPICS);
}

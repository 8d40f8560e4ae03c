//! Recorded stock clients and sync peers find in our server the one they were recorded with.
//!
//! Every request is sent as it was, in its order; chunks and what depends on them are stand-ins (see the crate `traces`).
//! Every recorded step is played. What `compare` exempts from equality is told there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compare;
mod replay;
mod requests;
mod site;
mod source;
mod wire;

use replay::Player;
use site::Site;
use traces::{Recording, Trace, Twin};

/// Recordings, the contents they share, and a server.
struct Stage {
    recordings: Vec<Recording>,
    twin: Twin,
    site: Site,
}

impl Stage {
    /// Sets a stage for some recordings. The contents are taken from all of them, for one tells what another leaves out.
    async fn set(traces: &[Trace]) -> Self {
        let all: Vec<Recording> = Trace::ALL.into_iter().map(Trace::load).collect();
        let twin = Twin::of(&all.iter().collect::<Vec<_>>());
        let recordings = traces.iter().map(|trace| trace.load()).collect();
        Self { recordings, twin, site: Site::start().await }
    }

    /// Plays whole recordings one after the other.
    async fn play(&self, player: &mut Player<'_>, numbers: std::ops::Range<usize>) {
        for recording in &self.recordings[numbers] {
            player.play(&recording.steps).await;
        }
    }

    /// Plays a recording step by step, each from the state in which it found the store.
    async fn play_prepared(&self, player: &mut Player<'_>, recording: &Recording, own: &[&str]) {
        for step in &recording.steps {
            source::prepare(&self.site, &self.twin, recording, step, own).await;
            player.play(std::slice::from_ref(step)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_and_incremental_backups_are_answered_as_recorded() {
    let stage = Stage::set(&[Trace::FirstBackup, Trace::IncrementalBackup]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    stage.play(&mut player, 0..2).await;
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_with_a_password_and_with_a_cached_ticket_are_answered_as_recorded() {
    let stage = Stage::set(&[Trace::PasswordBackup]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    let recording = &stage.recordings[0];
    let (backups, later) = recording.steps.split_at(2);
    for step in backups {
        player.play(std::slice::from_ref(step)).await;
    }
    for step in later {
        source::prepare(&stage.site, &stage.twin, recording, step, &[]).await;
        player.play(std::slice::from_ref(step)).await;
    }
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_and_signed_backups_are_answered_as_recorded() {
    let stage = Stage::set(&[Trace::EncryptedBackup]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    stage.play(&mut player, 0..1).await;
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_of_replayed_backups_are_answered_as_recorded() {
    let backups = [Trace::FirstBackup, Trace::IncrementalBackup, Trace::EncryptedBackup, Trace::Restore];
    let stage = Stage::set(&backups).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    stage.play(&mut player, 0..3).await;
    stage.play_prepared(&mut player, &stage.recordings[3], &[]).await;
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_and_those_around_it_are_answered_as_recorded() {
    let stage = Stage::set(&[Trace::Killed]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    let recording = &stage.recordings[0];
    let listing = recording.steps.iter().find(|step| step.name.starts_with("group list")).expect("a list of groups");
    source::prepare(&stage.site, &stage.twin, recording, listing, &["host/kill"]).await;
    player.play(&recording.steps).await;
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_many_chunks_is_answered_as_recorded() {
    let stage = Stage::set(&[Trace::ManyChunks]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    let recording = &stage.recordings[0];
    let (backups, syncs) = recording.steps.split_at(2);
    for step in backups {
        player.play(std::slice::from_ref(step)).await;
    }
    for step in syncs {
        source::prepare(&stage.site, &stage.twin, recording, step, &["vm/many"]).await;
        player.play(std::slice::from_ref(step)).await;
    }
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pulls_is_answered_as_recorded() {
    let stage = Stage::set(&[Trace::Pull]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    stage.play_prepared(&mut player, &stage.recordings[0], &[]).await;
    player.expect_no_differences();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pushes_is_answered_as_recorded() {
    let stage = Stage::set(&[Trace::Push]).await;
    let mut player = Player::new(&stage.site, &stage.twin);
    stage.play(&mut player, 0..1).await;
    player.expect_no_differences();
}

//! A workspace with `EcoExplorers` Rewards in force, for tests that need one.

use perennial::workspace::Workspace;
use perennial_core::time::Timestamp;
use perennial_store::MemoryDisk;

const ECOEXPLORERS: &str = include_str!("../../../../programs/ecoexplorers.yaml");

/// In memory.
pub(crate) fn workspace() -> Workspace {
    on(&MemoryDisk::new())
}

/// On a memory disk that can be made to fail.
pub(crate) fn on(disk: &MemoryDisk) -> Workspace {
    with_programme(Workspace::on_disk(disk).unwrap())
}

/// On real files.
pub(crate) fn in_folder(folder: &std::path::Path) -> Workspace {
    with_programme(Workspace::open(folder).unwrap())
}

fn with_programme(mut workspace: Workspace) -> Workspace {
    workspace.publish(Timestamp::EPOCH, "test", ECOEXPLORERS).unwrap();
    workspace
}

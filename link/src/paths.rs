//! Where configuration and data are, unless told otherwise: the one place in code. install.sh puts them there, and
//! `tests/paths.rs` reads both.
//!
//! On SmartOS nothing outside `/opt` and `/var` survives a boot of the global zone (docs/ILLUMOS.md).

use std::path::{Path, PathBuf};

/// Directories of one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// Configuration: `ROLE.toml` each.
    pub etc: &'static str,
    /// Data: a directory `ROLE` each.
    pub var: &'static str,
}

/// On Linux.
pub const LINUX: Paths = Paths { etc: "/etc/zonescope", var: "/var/lib/zonescope" };
/// On illumos.
pub const ILLUMOS: Paths = Paths { etc: "/opt/zonescope/etc", var: "/opt/zonescope/var" };
/// Here.
pub const HERE: Paths = if cfg!(target_os = "illumos") { ILLUMOS } else { LINUX };

impl Paths {
    /// The configuration of `generator`, `collector-columnar` or `collector-redis`.
    pub fn config(&self, role: &str) -> PathBuf {
        Path::new(self.etc).join(format!("{role}.toml"))
    }

    /// The data of the same.
    pub fn data(&self, role: &str) -> PathBuf {
        Path::new(self.var).join(role)
    }

    /// The keys of the same.
    pub fn keys(&self, role: &str) -> PathBuf {
        Path::new(self.etc).join("keys").join(role)
    }

    /// D programs of the users of this host.
    pub fn d_programs(&self) -> PathBuf {
        Path::new(self.etc).join("dtrace.d")
    }
}

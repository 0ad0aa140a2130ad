//! A host: what its own frames say, how complete those of its zones are, and which of its own never came.
//!
//! Host frames repeat each other: of several the last one is written. A host frame that never came is on record all the same,
//! since it may have been the only one that announced a zone's last frames. A gap without an end says that a generator
//! ended without taking leave, and that nobody knows what else it had made.

use redis::{Pipeline, cmd};
use zonescope_proto::v1;

use crate::limits::HOST_GAPS;
use crate::style::Style;
use crate::zone::Lost;

/// What a batch holds of a host.
#[derive(Debug, Default)]
pub struct HostEvents {
    /// Header of its last frame, and how many zones that announces.
    pub frame: Option<(v1::Header, usize)>,
    /// Frames of its own that will never come.
    pub gaps: Vec<Lost>,
}

/// Frames of all of its zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Stored.
    pub frames: u64,
    /// Of these, such as came only when asked for.
    pub recovered: u64,
    /// Never came.
    pub missing: u64,
}

impl Sums {
    /// `0.999998`: the share of frames that came.
    fn completeness(self) -> String {
        let all = self.frames + self.missing;
        format!("{:.6}", if all == 0 { 1.0 } else { self.frames as f64 / all as f64 })
    }
}

impl HostEvents {
    /// The transaction that writes them. `host` is the host's id as it stands in keys.
    pub fn transaction(&self, style: &Style, host: &str, sums: Sums) -> Pipeline {
        let mut pipe = redis::pipe();
        pipe.add_command(cmd("MULTI"));
        if !self.gaps.is_empty() {
            let key = style.keys.of(host, "gaps");
            for gap in &self.gaps {
                // An id of its own: whoever writes it again is refused.
                let id = format!("{}-{}", gap.epoch / 1_000_000, gap.first);
                let mut xadd = cmd("XADD");
                xadd.arg(&key).arg("MAXLEN").arg("~").arg(HOST_GAPS).arg(id).arg("from").arg(gap.first);
                if let Some(count) = gap.count() {
                    xadd.arg("to").arg(gap.last).arg("missing").arg(count);
                }
                xadd.arg("epoch").arg(gap.epoch).arg("reason").arg(gap.reason);
                pipe.add_command(xadd);
            }
            pipe.add_command(style.expire_command(&key));
        }
        if let Some((header, zones)) = &self.frame {
            let key = style.keys.of(host, "host");
            let mut hset = cmd("HSET");
            hset.arg(&key).arg("host").arg(&header.host).arg("host_id").arg(&header.host_id);
            hset.arg("time").arg(header.time / 1_000_000).arg("interval_ms").arg(header.interval_ms);
            hset.arg("epoch").arg(header.epoch).arg("sequence").arg(header.sequence).arg("zones").arg(*zones);
            hset.arg("frames").arg(sums.frames).arg("recovered").arg(sums.recovered).arg("missing").arg(sums.missing);
            hset.arg("completeness").arg(sums.completeness());
            pipe.add_command(hset);
            pipe.add_command(style.expire_command(&key));
        }
        pipe.add_command(cmd("EXEC"));
        pipe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completeness_is_the_share_of_frames_that_came() {
        let of = |frames, missing| Sums { frames, missing, recovered: 0 }.completeness();
        assert_eq!([of(0, 0), of(3, 1), of(999_999, 1)], ["1.000000", "0.750000", "0.999999"]);
    }
}

//! privileges(7), by the library that comes with libc: priv_str_to_set(3C), priv_addset(3C), setppriv(2), setpflags(2).
//!
//! Facts of illumos-gate that this rests on: turning privileges off is always allowed, and takes those that are no longer permitted
//! from the effective set (`setppriv` in uts/common/syscall/ppriv.c); `__PROC_PROTECT` sets SNOCD, without which global core files, on
//! by default in SmartOS, are written whatever RLIMIT_CORE says (`do_core` in uts/common/os/core.c); names of privileges and sets
//! are those of uts/common/os/priv_defs. Nobody has run it yet: docs/ILLUMOS.md says how to look.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::io::Error;
use std::ptr;

use super::Need;

/// `priv_set_t`, whose size only the library knows.
#[repr(C)]
struct PrivSet {
    _opaque: [u8; 0],
}

/// sys/priv.h.
const PRIV_OFF: c_int = 1;
const PROC_PROTECT: c_uint = 0x8;
const SETS: [&CStr; 4] = [c"Limit", c"Inheritable", c"Permitted", c"Effective"];

unsafe extern "C" {
    fn priv_str_to_set(text: *const c_char, separators: *const c_char, end: *mut *const c_char) -> *mut PrivSet;
    fn priv_inverse(set: *mut PrivSet);
    fn priv_freeset(set: *mut PrivSet);
    fn setppriv(operation: c_int, which: *const c_char, set: *const PrivSet) -> c_int;
    fn setpflags(flag: c_uint, value: c_uint) -> c_int;
}

/// The kernel refuses only values that it does not know.
pub(super) fn keep_out_of_core_files() {
    // SAFETY: takes and keeps no pointer.
    let _ = unsafe { setpflags(PROC_PROTECT, 1) };
}

pub(super) fn give_up_all_but(need: Need) {
    let keep = match need {
        Need::Nothing => c"basic,!file_link_any,!proc_info,!proc_session,!proc_fork,!proc_exec",
        Need::Processes => c"basic,!file_link_any",
        // The manifest has what the operator's D programs need, be it more than ours do.
        Need::Dtrace if !rustix::process::geteuid().is_root() => c"all,!file_link_any",
        Need::Dtrace => c"basic,!file_link_any,dtrace_kernel,dtrace_user,dtrace_proc",
    };
    match turn_off_all_but(keep) {
        Ok(()) => tracing::info!(at_most = %keep.to_string_lossy(), "every other privilege is given up"),
        Err(error) => tracing::warn!("cannot give up privileges: {error}; the service's manifest still limits them"),
    }
}

fn turn_off_all_but(keep: &CStr) -> Result<(), Error> {
    // SAFETY: both texts end with NUL and outlive the call; the third argument may be null.
    let set = unsafe { priv_str_to_set(keep.as_ptr(), c",".as_ptr(), ptr::null_mut()) };
    if set.is_null() {
        return Err(Error::last_os_error());
    }
    // SAFETY: `set` is what the library made, and not freed yet.
    unsafe { priv_inverse(set) };
    let result = SETS.iter().try_for_each(|which| {
        // SAFETY: `which` ends with NUL, `set` is as above, and neither is kept.
        match unsafe { setppriv(PRIV_OFF, which.as_ptr(), set) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    });
    // SAFETY: made by the library, and not used from here on.
    unsafe { priv_freeset(set) };
    result
}

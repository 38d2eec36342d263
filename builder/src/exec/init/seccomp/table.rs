//! The calls of Docker's profile that are refused, and which capability lifts that.
//!
//! After [moby's profile](https://github.com/moby/profiles/blob/main/seccomp/default.json) of 2026.

use crate::exec::sandbox::Capabilities;

/// removexattrat, Linux 6.13: no later call was looked at.
pub(super) const LAST_KNOWN: u32 = 466;

/// The same number everywhere. Its flags are behind a pointer, where no filter can see them.
pub(super) const CLONE3: u32 = 435;

/// Some calls that are refused together.
pub(super) struct Group {
    /// Capabilities of which one lifts it; none means that nothing does.
    unless: &'static [&'static str],
    /// Calls with the same number on every architecture.
    pub(super) everywhere: &'static [i64],
    /// By this machine's numbers.
    pub(super) native: &'static [i64],
    /// By those of 32-bit programs on x86-64 (`asm/unistd_32.h`), in the order of `native`.
    pub(super) i386: &'static [i64],
    /// All of them by name, for who speaks of calls by name.
    pub(super) names: &'static [&'static str],
}

impl Group {
    /// Whether it is refused to a program with these capabilities.
    pub(super) fn holds(&self, capabilities: Capabilities) -> bool {
        !self.unless.iter().any(|name| capabilities.has(name))
    }
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        unless: &[],
        // io_uring_setup, _enter, _register
        everywhere: &[425, 426, 427],
        native: &[
            libc::SYS_add_key,
            libc::SYS_kexec_file_load,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
            libc::SYS_nfsservctl,
            libc::SYS_pivot_root,
            libc::SYS_request_key,
            libc::SYS_swapoff,
            libc::SYS_swapon,
            libc::SYS_userfaultfd,
        ],
        // kexec_file_load is not there; vm86old, vm86 and bdflush are.
        i386: &[286, 283, 288, 294, 317, 169, 217, 287, 115, 87, 374, 113, 166, 134],
        names: &[
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "add_key",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "migrate_pages",
            "move_pages",
            "nfsservctl",
            "pivot_root",
            "request_key",
            "swapoff",
            "swapon",
            "userfaultfd",
            "vm86old",
            "vm86",
            "bdflush",
        ],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        unless: &[],
        everywhere: &[],
        native: &[libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat, libc::SYS_vserver],
        i386: &[149, 135, 86, 62, 273],
        names: &["_sysctl", "sysfs", "uselib", "ustat", "vserver"],
    },
    Group {
        unless: &["SYS_ADMIN"],
        // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, quotactl_fd, lsm_get_self_attr,
        // lsm_set_self_attr, lsm_list_modules
        everywhere: &[428, 429, 430, 431, 432, 433, 442, 443, 459, 460, 461],
        native: &[
            libc::SYS_fanotify_init,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_quotactl,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
        // And umount.
        i386: &[338, 253, 21, 131, 121, 74, 346, 52, 310, 22],
        names: &[
            "open_tree",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "quotactl_fd",
            "lsm_get_self_attr",
            "lsm_set_self_attr",
            "lsm_list_modules",
            "fanotify_init",
            "lookup_dcookie",
            "mount",
            "quotactl",
            "setdomainname",
            "sethostname",
            "setns",
            "umount2",
            "unshare",
            "umount",
        ],
    },
    Group {
        unless: &["SYS_ADMIN", "BPF"],
        everywhere: &[],
        native: &[libc::SYS_bpf],
        i386: &[357],
        names: &["bpf"],
    },
    Group {
        unless: &["SYS_ADMIN", "PERFMON"],
        everywhere: &[],
        native: &[libc::SYS_perf_event_open],
        i386: &[336],
        names: &["perf_event_open"],
    },
    Group {
        unless: &["SYS_ADMIN", "SYSLOG"],
        everywhere: &[],
        native: &[libc::SYS_syslog],
        i386: &[103],
        names: &["syslog"],
    },
    Group {
        unless: &["DAC_READ_SEARCH"],
        everywhere: &[],
        native: &[libc::SYS_open_by_handle_at],
        i386: &[342],
        names: &["open_by_handle_at"],
    },
    Group {
        unless: &["SYS_BOOT"],
        everywhere: &[],
        native: &[libc::SYS_reboot],
        i386: &[88],
        names: &["reboot"],
    },
    Group {
        unless: &["SYS_MODULE"],
        everywhere: &[],
        native: &[libc::SYS_delete_module, libc::SYS_init_module, libc::SYS_finit_module],
        i386: &[129, 128, 350],
        names: &["delete_module", "init_module", "finit_module"],
    },
    Group {
        unless: &["SYS_PACCT"],
        everywhere: &[],
        native: &[libc::SYS_acct],
        i386: &[51],
        names: &["acct"],
    },
    Group {
        unless: &["SYS_PTRACE"],
        // pidfd_getfd, process_madvise
        everywhere: &[438, 440],
        native: &[libc::SYS_kcmp],
        i386: &[349],
        names: &["pidfd_getfd", "process_madvise", "kcmp"],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        unless: &["SYS_RAWIO"],
        everywhere: &[],
        native: &[libc::SYS_ioperm, libc::SYS_iopl],
        i386: &[101, 110],
        names: &["ioperm", "iopl"],
    },
    Group {
        unless: &["SYS_TIME"],
        everywhere: &[],
        native: &[libc::SYS_settimeofday, libc::SYS_clock_settime],
        // And stime and clock_settime64.
        i386: &[79, 264, 25, 404],
        names: &["settimeofday", "clock_settime", "stime", "clock_settime64"],
    },
    Group {
        unless: &["SYS_TTY_CONFIG"],
        everywhere: &[],
        native: &[libc::SYS_vhangup],
        i386: &[111],
        names: &["vhangup"],
    },
    Group {
        unless: &["SYS_NICE"],
        // set_mempolicy_home_node
        everywhere: &[450],
        native: &[libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy],
        i386: &[275, 274, 276],
        names: &["set_mempolicy_home_node", "get_mempolicy", "mbind", "set_mempolicy"],
    },
];

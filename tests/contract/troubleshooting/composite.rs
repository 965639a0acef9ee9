//! The section about `binary/run`. `composite.rs` sees the script print each message.

use super::Retry::{Never, NotApplicable};
use super::{Entry, fixed};

pub(crate) const NO_BINARIES: &str = "this commit of the action names no binaries; only the commits of releases do. Use a release tag, or set binary-path";

pub(crate) const CANNOT_DOWNLOAD: &str = "cannot download …; curl's error is in the log; nothing was run. Re-run the job; if the runner cannot reach this host, set binary-path to a copy of the binary";

pub(crate) const OTHER_DOWNLOAD: &str = "the download from … was not run: its SHA-256 is …, not …. If a proxy changes downloads or requires a login, set binary-path to a copy of the binary";

pub(crate) const CHANGED_BINARY: &str = "… was not run: its SHA-256 is …, not …; it was changed after it was downloaded. Find out what changed it, delete it, and re-run the job";

pub(crate) const UNREADABLE_BINARY: &str = "… was not run: it is not a regular file that this user can read. Find out what changed it, delete it, and re-run the job";

pub(crate) const NO_CACHE: &str =
    "cannot create a file in RUNNER_TOOL_CACHE (…) or RUNNER_TEMP (…); make one of them writable, or set binary-path";

pub(crate) const OTHER_PLATFORM: &str = "no binary for …, only for Linux x86_64 and Linux aarch64; use such a runner, or set binary-path to a binary for this platform";

pub(crate) const NO_TOOL: &str = "… not found; install it in an earlier step, or set binary-path";

pub(crate) const NO_FILE: &str = "invalid input binary-path: no file …";

pub(crate) const NOT_A_BINARY: &str = "invalid input binary-path: … is not a binary; use the binary of a release";

pub(crate) const NOT_EXECUTABLE: &str =
    "invalid input binary-path: … is not executable; run chmod +x in an earlier step";

pub(crate) const CANNOT_START: &str = "cannot start …; the reason is in the log. If it is for another platform or on a noexec mount, set binary-path to another file";

pub(super) const ENTRIES: &[Entry] = &[
    fixed(
        "this commit of the action names no binaries",
        "The action is pinned to a commit that is not a release, or to `main`. Only the commits that tags such as `v1` and `v1.0.0` point to have the URLs and checksums of binaries.",
        "",
        Never,
        NO_BINARIES,
        1,
    ),
    fixed(
        "cannot download …",
        "Five attempts failed. GitHub redirects downloads to a host below githubusercontent.com, which a firewall can block although it allows github.com.",
        "[GitHub without Docker](other-ci-systems.md#github-without-docker) shows how to use a copy of the binary.",
        NotApplicable,
        CANNOT_DOWNLOAD,
        1,
    ),
    fixed(
        "the download from … was not run: its SHA-256 is …",
        "The download is not the binary that the commit of the action names. It was deleted.",
        "If no proxy is involved, [report it](../SECURITY.md#report-a-vulnerability): the binaries of a release never change.",
        Never,
        OTHER_DOWNLOAD,
        1,
    ),
    fixed(
        "it was changed after it was downloaded",
        "An earlier job or another program on the runner changed the binary in the cache.",
        "",
        Never,
        CHANGED_BINARY,
        1,
    ),
    fixed(
        "it is not a regular file that this user can read",
        "In the cache, another program created a directory or a special file in place of the binary, or changed its permissions.",
        "",
        Never,
        UNREADABLE_BINARY,
        1,
    ),
    fixed(
        "cannot create a file in RUNNER_TOOL_CACHE",
        "The runner's user may not write to these directories, or their disk is full.",
        "",
        Never,
        NO_CACHE,
        1,
    ),
    fixed("no binary for …", "The runner has another operating system or processor.", "", Never, OTHER_PLATFORM, 1),
    fixed(
        "… not found; install it in an earlier step",
        "The runner has no curl or no sha256sum.",
        "",
        Never,
        NO_TOOL,
        1,
    ),
    fixed(
        "invalid input binary-path: no file …",
        "A relative path starts at the workspace. actions/checkout deletes untracked files there.",
        "",
        Never,
        NO_FILE,
        2,
    ),
    fixed(
        "invalid input binary-path: … is not a binary",
        "The file is empty or a text, such as a saved web page or a pointer of Git LFS.",
        "[GitHub without Docker](other-ci-systems.md#github-without-docker) shows how to get the binary.",
        Never,
        NOT_A_BINARY,
        2,
    ),
    fixed(
        "invalid input binary-path: … is not executable",
        "Downloaded files are not executable, and artifacts lose this permission.",
        "",
        Never,
        NOT_EXECUTABLE,
        2,
    ),
    fixed(
        "cannot start …; the reason is in the log",
        "Usually, the log has `Exec format error` (the binary is for another platform) or `Permission denied` (its file system is mounted with noexec, or the user may not make the file executable).",
        "",
        Never,
        CANNOT_START,
        1,
    ),
];

"""What dd, ln, mkdir and their kin print when a device's storage refuses a file. Pure text, no I/O."""

from __future__ import annotations

# strerror() texts of ENOSPC, EDQUOT, EROFS, EACCES, EPERM, ENOENT, ENOTDIR, EISDIR, ETXTBSY, ENAMETOOLONG, EFBIG and
# EIO as glibc, musl, bionic and macOS spell them, with what helps.
_REMEDIES = {
    "No space left on device": "free some space there (edgedeploy clean), or choose another workdir",
    "Disk quota exceeded": "free some space there (edgedeploy clean), or choose another workdir",
    "Disc quota exceeded": "free some space there (edgedeploy clean), or choose another workdir",  # macOS
    "Read-only file system": "choose a workdir on a file system that can be written",
    "Permission denied": "choose a workdir that this user may write",
    "Operation not permitted": "choose a workdir that this user may write",
    "No such file or directory": "create the folder first",
    "Directory nonexistent": "create the folder first",  # dash
    "Not a directory": "choose a path whose parents are folders",
    "Is a directory": "choose a path that is not a folder",
    "Text file busy": "stop the program that is running from that file",
    "File name too long": "choose a shorter workdir",
    "File too large": "choose a workdir on a file system that takes files of this size",
    "Input/output error": "check the device's storage; it may be failing",
    "I/O error": "check the device's storage; it may be failing",
}


def storage_remedy(text: str) -> str | None:
    """Return what to do about a storage complaint in ``text``, or None if there is no such complaint."""
    return next((remedy for complaint, remedy in _REMEDIES.items() if complaint in text), None)

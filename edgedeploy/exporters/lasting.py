"""Spares Python's garbage collector what stays to the end of the process anyway.

It walks over all objects again and again while an SDK works on its graphs, and most of them are the modules of PyTorch and of
the SDKs: a fifth of an export's time. Changes the whole process, as exports run in worker processes of their own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """For the time in which an SDK is imported: nothing is collected, and what has come is left out of later collections."""
    before, enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        if len(sys.modules) > before:
            gc.freeze()


def keep_what_is_left() -> None:
    """Collect once, and leave what is left out of later collections: before each lane of a model."""
    gc.collect()
    gc.freeze()

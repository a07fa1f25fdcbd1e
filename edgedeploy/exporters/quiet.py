"""Keeps the SDKs' own chatter away from the user, and the user's work away from those who make SDKs."""

from __future__ import annotations

import logging
import os
import sys
import warnings

# Each of these warns, on import or for every graph, of things a user can do nothing about: missing GPU kernels, opaque
# pytree registrations, untested versions, the macOS-only library, the graph printed before an error we explain anyway.
_NOISY_LOGGERS = (
    "torchao",
    "torch.utils._pytree",
    "torch.fx.experimental.symbolic_shapes",
    "coremltools",
    "root.executorch",
    "executorch",
)


def quiet_sdks() -> None:
    """Raise the noisy loggers to ERROR, hide warnings and progress bars, send nobody anything; call it before an SDK is imported.

    Changes the whole process, which is why exports run in worker processes of their own.
    """
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # NNCF tells Google Analytics what is quantized with it, unasked. Where it cannot import this, it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it is an ImportError

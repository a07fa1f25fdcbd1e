"""ExecuTorch's backends: which precisions each has here, what its compiler needs, and how a graph is parted for it."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgedeploy.errors import ExportError
from edgedeploy.ports import ExportRequest, Lacking

if TYPE_CHECKING:
    from executorch.exir.backend.partitioner import Partitioner

_FLOAT = ("fp32", "fp16")
_XNNPACK = (*_FLOAT, "int8", "int8-static", "int8-dynamic", "int8-weights", "int4-weights", "8da4w")
_VGF_GLIBC = (2, 38)  # what Arm's model converter 0.10.0 is linked against
_ANOTHER_LANE = "take another lane, or write an exporter for it as a plug-in (docs/plugins.md)"
_COREML = (*_FLOAT, "int8-weights", "int4-weights")

# A vendor's compiler that is not here has one lane, whose answer is what is missing.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "xnnpack": _XNNPACK,
    "portable": ("fp32",),
    "coreml": _COREML,
    "vulkan": _FLOAT,
    "qnn": ("fp16",),
    "mediatek": ("fp16",),
    "samsung": ("fp16",),
    "ethos-u": ("int8-static",),
    "vgf": ("int8-static",),
    "openvino": ("fp16", "int8"),
    "cuda": ("fp32",),
}
TITLES = {
    "xnnpack": "XNNPACK",
    "portable": "ExecuTorch's portable kernels",
    "coreml": "Core ML",
    "vulkan": "Vulkan",
    "qnn": "Qualcomm's AI Engine Direct (QNN)",
    "mediatek": "MediaTek's NeuroPilot",
    "samsung": "Samsung's Exynos AI LiteCore",
    "ethos-u": "Arm's Ethos-U",
    "vgf": "Arm's ML extensions for Vulkan (VGF)",
    "openvino": "Intel's OpenVINO",
    "cuda": "CUDA",
}


class _Sdk(NamedTuple):
    """What a vendor's compiler is recognised by, and how it is got (as ExecuTorch 1.5's documentation has it)."""

    present: Callable[[], bool]
    what: str
    how: str


def _modules(*names: str) -> Callable[[], bool]:
    return lambda: all(map(_is_installed, names))


def _is_installed(name: str) -> bool:
    # Asked for a module in a package, find_spec would import the package: an SDK.
    package, *inner = name.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not inner:
        return spec is not None
    return any(Path(place, *inner).is_dir() for place in spec.submodule_search_locations or ())


def _vgf() -> bool:
    library, version = platform.libc_ver()
    return _modules("model_converter", "tosa_serializer")() and library == "glibc" and _numbers(version) >= _VGF_GLIBC


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _cuda() -> bool:
    return _is_installed("triton") and os.path.exists("/dev/nvidiactl")  # noqa: PTH110 - a device, not a path of ours


_SDKS = {
    "qnn": _Sdk(
        lambda: bool(os.environ.get("QNN_SDK_ROOT")),
        "Qualcomm AI Engine Direct SDK (QNN_SDK_ROOT is not set)",
        "download it from Qualcomm's developer site, unpack it, and set QNN_SDK_ROOT to its folder",
    ),
    "mediatek": _Sdk(
        _modules("mtk_converter", "mtk_neuron"),
        "MediaTek NeuroPilot SDK (the Python packages mtk_converter and mtk_neuron)",
        "download NeuroPilot Express from MediaTek's site and pip install the two wheels in it (Linux, Python 3.10)",
    ),
    "samsung": _Sdk(
        _modules("executorch.backends.samsung.python"),
        "Samsung Exynos AI LiteCore (executorch.backends.samsung.python is not built)",
        "download AI LiteCore from Samsung's developer site and build ExecuTorch's Samsung backend from source with it",
    ),
    "ethos-u": _Sdk(
        _modules("ethosu.vela", "tosa_serializer"),
        "Arm's Vela compiler and TOSA tools (the Python packages ethos-u-vela and tosa-tools)",
        "pip install 'edgedeploy[ethos-u]', best in an environment of its own: it brings older numpy, flatbuffers, ml_dtypes",
    ),
    "vgf": _Sdk(
        _vgf,
        "Arm's model converter (the Python packages ai_ml_sdk_model_converter and tosa-tools) and glibc 2.38 or newer",
        "pip install 'executorch[vgf]==1.5.1', on Debian 13, Ubuntu 24.04 or newer",
    ),
    "openvino": _Sdk(
        _modules("openvino", "nncf"),
        "OpenVINO (the Python packages openvino and nncf)",
        "pip install 'edgedeploy[openvino]', best in an environment of its own: it brings an older numpy",
    ),
    "cuda": _Sdk(
        _cuda,
        "a CUDA build of PyTorch with Triton, and an NVIDIA GPU to compile on",
        "export on the Jetson itself, or on a machine with an NVIDIA GPU, with PyTorch's CUDA build",
    ),
}


# Of a vendor, what decides the bytes of a file.
_COMPILERS = {"ethos-u": ("ethos-u-vela", "tosa-tools"), "openvino": ("openvino", "nncf")}


def compilers(backend: str) -> tuple[str, ...]:
    """The vendor's distributions that decide the bytes of a file."""
    return _COMPILERS.get(backend, ())


def lacking(backend: str) -> Lacking | None:
    """What a backend's compiler needs and is not here; or that it is here, and edgedeploy does not know how to use it."""
    sdk = _SDKS.get(backend)
    if sdk is not None and not sdk.present():
        return Lacking(what=sdk.what, how=sdk.how)
    if backend not in _PARTITIONERS:
        return Lacking(what=f"a conversion for {TITLES[backend]}, which edgedeploy does not have yet", how=_ANOTHER_LANE)
    return None


def partitioner(request: ExportRequest) -> list[Partitioner]:
    """What chooses the parts of a graph that the lane's backend computes. Empty for plain kernels. Imports the SDK.

    Raises:
        ExportError: edgedeploy does not convert for that backend; the target lacks what the backend has to know.
    """
    backend = request.lane.backend
    if backend not in _PARTITIONERS:
        raise ExportError(
            f"edgedeploy does not convert for {TITLES.get(backend, backend)} yet", where=request.lane.id, next_step=_ANOTHER_LANE
        )
    return _PARTITIONERS[backend](request)


def _xnnpack(request: ExportRequest) -> list[Partitioner]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    from edgedeploy.exporters.xnnpack_layout import install

    install()
    if request.lane.precision in {"int8-weights", "int4-weights"}:
        from edgedeploy.exporters.xnnpack_weights import weight_only_configs

        return [XnnpackPartitioner(configs=weight_only_configs())]
    return [XnnpackPartitioner()]


def _coreml(request: ExportRequest) -> list[Partitioner]:
    from edgedeploy.exporters.executorch_coreml import coreml_partitioner

    return [coreml_partitioner(request)]


def _vulkan(request: ExportRequest) -> list[Partitioner]:
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return [VulkanPartitioner({"force_fp16": request.lane.precision == "fp16"})]


def _ethos_u(request: ExportRequest) -> list[Partitioner]:
    from edgedeploy.exporters.executorch_ethos_u import ethos_u_partitioner

    return [ethos_u_partitioner(request)]


def _openvino(_request: ExportRequest) -> list[Partitioner]:
    from edgedeploy.exporters.executorch_openvino import openvino_partitioner

    return [openvino_partitioner()]


_PARTITIONERS: dict[str, Callable[[ExportRequest], list[Partitioner]]] = {
    "xnnpack": _xnnpack,
    "portable": lambda _request: [],
    "coreml": _coreml,
    "vulkan": _vulkan,
    "ethos-u": _ethos_u,
    "openvino": _openvino,
}

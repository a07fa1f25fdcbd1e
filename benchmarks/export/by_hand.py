"""What one writes without edgedeploy: ``by_hand.py text.py:tinybert out`` makes one model's five files with the SDKs.

In one process, that loads the model once, and in the precisions that edgedeploy's lanes have. Every file that this machine can
run is then run on the golden inputs and compared with PyTorch; ``--unverified`` leaves that out.
"""

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

import coremltools as ct
import executorch.kernels.quantized  # noqa: F401 - its kernels, for the Python runtime
import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    CONV_TARGETS,
    LINEAR_TARGETS,
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.exir.passes import _quant_patterns_and_replacements as _registers_embedding_byte  # noqa: F401
from executorch.runtime import Runtime
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

Inputs = tuple[Tensor, ...]
OPERATORS = qtyping.TFLOperationName
LAYERS = (OPERATORS.FULLY_CONNECTED, OPERATORS.CONV_2D, OPERATORS.DEPTHWISE_CONV_2D, OPERATORS.CONV_2D_TRANSPOSE)


class Tensors(nn.Module):
    """The model with a plain tuple of tensors in place of transformers' output classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the model."""
        output = self.model(*inputs)
        return (output,) if isinstance(output, Tensor) else tuple(output.values())


class LayersOnly(XNNPACKQuantizer):
    """Without turning numbers into float tensors first: BERT's integer position ids would become floats."""

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Leave the model as it is."""
        return model


def to_pte(program: ExportedProgram, file: Path) -> None:
    """Lower to XNNPACK."""
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    file.write_bytes(lowered.buffer)


def int8_for_xnnpack(
    program: ExportedProgram, example: Inputs, calibration: list[Inputs], *, transformer: bool
) -> ExportedProgram:
    """Static per channel; in a transformer linear layers dynamic, embedding tables per row, the rest in float32."""
    module = program.module()
    if transformer:
        int8_embeddings(module)
    chosen = LayersOnly() if transformer else XNNPACKQuantizer()
    static = get_symmetric_quantization_config(is_per_channel=True)
    if transformer:
        for operator in LINEAR_TARGETS:
            chosen.set_operator_type(operator, get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
        for operator in CONV_TARGETS:
            chosen.set_operator_type(operator, static)
    else:
        chosen.set_global(static)
    with torch.no_grad():
        observed = prepare_pt2e(module, chosen)
        for batch in calibration:
            observed(*batch)
        return torch.export.export(convert_pt2e(observed), example)


def int8_embeddings(module: GraphModule) -> None:
    """Every table in int8 with a scale per row."""
    for number, node in enumerate(list(module.graph.nodes)):
        if node.target is torch.ops.aten.embedding.default:
            table = module.get_parameter(node.args[0].target)
            scales = (table.abs().amax(dim=1) / 127).clamp(min=1e-10).detach()
            module.register_buffer(f"scales_{number}", scales)
            module.register_buffer(f"values_{number}", (table / scales[:, None]).round().to(torch.int8).detach())
            with module.graph.inserting_before(node):
                stored = [module.graph.get_attr(f"{name}_{number}") for name in ("values", "scales")]
                smaller = module.graph.call_function(
                    torch.ops.quantized_decomposed.embedding_byte.default, (*stored, None, -128, 127, node.args[1])
                )
            smaller.meta = dict(node.meta)
            node.replace_all_uses_with(smaller)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def int8_for_tflite(float_model: bytes, calibration: list[Inputs], *, transformer: bool) -> bytes:
    """Static per channel; in a transformer only layers, embedding tables as at run time, the rest in float32."""
    quantizing = quantizer.Quantizer(bytearray(float_model))
    if transformer:
        for operator in LAYERS:
            quantizing.add_static_config(".*", operator, 8, 8)
    else:
        quantizing.add_static_config(".*", OPERATORS.ALL_SUPPORTED, 8, 8)
        for operator in (OPERATORS.INPUT, OPERATORS.OUTPUT):
            quantizing.update_quantization_recipe(".*", operator, algorithm_key=AlgorithmName.NO_QUANTIZE)
    quantizing.add_dynamic_config(".*", OPERATORS.EMBEDDING_LOOKUP, 8)
    recipe = recipe_manager.RecipeManager()
    recipe.load_quantization_recipe(quantizing.get_quantization_recipe())
    # Full ranges: the quantizer's own calibrate() takes a moving average that clips what later samples hold.
    observing = calibrator.Calibrator(float_model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observing.calibrate({"serving_default": [named(batch) for batch in calibration]}, recipe)
    done = quantizing.quantize(observing.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False)
    return bytes(done.quantized_model)


def named(batch: Inputs) -> dict[str, np.ndarray]:
    """Inputs under litert-torch's names, with integers as narrow as in the file."""
    arrays = [tensor.numpy() for tensor in batch]
    narrow = [array.astype(np.int32) if array.dtype == np.int64 else array for array in arrays]
    return {f"args_{number}": array for number, array in enumerate(narrow)}


def by_executorch(file: Path) -> Callable[[Inputs], list[np.ndarray]]:
    """The function that a ``.pte`` file computes."""
    method = Runtime.get().load_program(file).load_method("forward")
    return lambda case: [output.numpy() for output in method.execute(list(case))]


def by_tflite(file: Path) -> Callable[[Inputs], list[np.ndarray]]:
    """The function that a ``.tflite`` file computes."""
    run = Interpreter(str(file), num_threads=1).get_signature_runner("serving_default")

    def call(case: Inputs) -> list[np.ndarray]:
        outputs = run(**named(case))
        return [outputs[name] for name in sorted(outputs)]

    return call


def sqnr_db(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Signal over noise of all outputs together."""
    signal = sum(float(np.square(e.astype(np.float64)).sum()) for e in expected)
    noise = sum(float(np.square(e.astype(np.float64) - f).sum()) for e, f in zip(expected, found, strict=True))
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def main() -> None:
    """Load, export in every lane, compare."""
    place, folder, *options = sys.argv[1:]
    file, _, function = place.partition(":")
    sys.path.append(str(Path.cwd()))
    source = getattr(importlib.import_module(file.removesuffix(".py")), function)()
    out = Path(folder)
    out.mkdir()
    model, example = Tensors(source.module).eval(), source.example_inputs
    transformer = any(isinstance(layer, nn.LayerNorm) for layer in model.modules())
    with torch.no_grad():
        answers = [[tensor.numpy() for tensor in model(*case)] for case in source.golden_inputs]
        program = torch.export.export(model, example)

    to_pte(program, out / "fp32.pte")
    to_pte(int8_for_xnnpack(program, example, source.calibration, transformer=transformer), out / "int8.pte")
    float_model = litert_torch.convert(model, example)
    float_model.export(str(out / "fp32.tflite"))
    content = (out / "fp32.tflite").read_bytes()
    (out / "int8.tflite").write_bytes(int8_for_tflite(content, source.calibration, transformer=transformer))
    package = ct.convert(program.run_decompositions(), minimum_deployment_target=ct.target.iOS17, skip_model_load=True)
    package.save(str(out / "fp16.mlpackage"))

    if "--unverified" in options:
        return
    for name, floor_db, load in (
        ("fp32.pte", 60, by_executorch),
        ("int8.pte", 15, by_executorch),
        ("fp32.tflite", 60, by_tflite),
        ("int8.tflite", 15, by_tflite),
    ):
        run = load(out / name)
        worst = min(sqnr_db(answer, run(case)) for case, answer in zip(source.golden_inputs, answers, strict=True))
        print(f"{name}: {worst:.1f} dB")
        if worst < floor_db:
            raise SystemExit(f"{name} computes something else")


if __name__ == "__main__":
    main()

"""What one writes without edgedeploy: export with the SDK, compare, time."""

import time
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from model import network

source = network()
module = source.module.eval()
with torch.no_grad():
    reference = module(*source.example_inputs)
program = torch.export.export(module, source.example_inputs)
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
Path("by_hand.pte").write_bytes(lowered.buffer)
method = Runtime.get().load_program("by_hand.pte").load_method("forward")
inputs = list(source.example_inputs)
(output,) = method.execute(inputs)
if not torch.allclose(output, reference, atol=1e-4):
    raise SystemExit("the export computes something else")
samples = []
for _ in range(3 * 110):
    started = time.perf_counter_ns()
    method.execute(inputs)
    samples.append(time.perf_counter_ns() - started)
samples.sort()
print(f"p50 {samples[len(samples) // 2] / 1e6:.3f} ms")

"""Writes a generated GGUF file of one scale per matrix as an ONNX model with int8 weights.

    python onnx_model.py MODEL.gguf MODEL.onnx

The codes and scales are those of the file, so that onnxruntime computes the same model. Matrix
products are what onnxruntime's dynamic int8 quantization becomes when it is loaded
(DynamicQuantizeMatMul); the rest are the operators that exporters use for Llama models.
"""

import sys

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and constants so far."""

    def __init__(self):
        self.nodes, self.constants, self.names = [], [], 0

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op, inputs, outputs=1, domain="", **attributes):
        names = [f"{op}_{self.names + k}" for k in range(outputs)]
        self.names += outputs
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names


def codes_and_scale(tensor):
    """The int8 codes [rows, columns] of a Q8_0 tensor and its only scale."""
    assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0, tensor.tensor_type
    columns, rows = (int(n) for n in tensor.shape)
    blocks = np.asarray(tensor.data).view(np.uint8).reshape(-1, 34)
    scales = np.unique(blocks[:, :2].copy().view(np.float16))
    assert len(scales) == 1, f"{tensor.name} has {len(scales)} scales"
    return blocks[:, 2:].copy().view(np.int8).reshape(rows, columns), scales.astype(np.float32)


def main():
    source, target = sys.argv[1:]
    reader = gguf.GGUFReader(source)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    field = lambda name: reader.fields[f"llama.{name}"].contents()
    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    head, context = field("embedding_length") // heads, field("context_length")
    epsilon = float(field("attention.layer_norm_rms_epsilon"))
    graph = Graph()

    def product(x, name):
        codes, scale = codes_and_scale(tensors[name])
        weights = graph.constant(f"{name}.codes", np.ascontiguousarray(codes.T))
        scale = graph.constant(f"{name}.scale", scale.reshape(()))
        zero = graph.constant(f"{name}.zero", np.array(0, np.int8))
        return graph.add("DynamicQuantizeMatMul", [x, weights, scale, zero], domain="com.microsoft")

    def norm(x, name):
        weight = graph.constant(name, np.array(tensors[name].data, np.float32))
        return graph.add("SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=epsilon)

    rates = float(field("rope.freq_base")) ** (-2.0 * np.arange(head // 2) / head)
    angles = np.outer(np.arange(context), rates)
    cos = graph.constant("cos", np.cos(angles).astype(np.float32))
    sin = graph.constant("sin", np.sin(angles).astype(np.float32))

    codes, scale = codes_and_scale(tensors["token_embd.weight"])
    table = graph.constant("embedding.codes", codes)
    x = graph.add("Cast", [graph.add("Gather", [table, "input_ids"])], to=TensorProto.FLOAT)
    x = graph.add("Mul", [x, graph.constant("embedding.scale", scale)])
    pasts, presents = [], []
    for layer in range(field("block_count")):
        weight = lambda name: f"blk.{layer}.{name}.weight"
        y = norm(x, weight("attn_norm"))
        query, key, value = (product(y, weight(f"attn_{part}")) for part in "qkv")
        past = [f"past.{layer}.{part}" for part in ("key", "value")]
        pasts += past
        attended, *present = graph.add(
            "GroupQueryAttention",
            [query, key, value, *past, "seqlens_k", "total_sequence_length", cos, sin],
            outputs=3,
            domain="com.microsoft",
            num_heads=heads,
            kv_num_heads=kv_heads,
            do_rotary=1,
            rotary_interleaved=1,
        )
        presents += zip(present, (name.replace("past", "present") for name in past))
        x = graph.add("Add", [x, product(attended, weight("attn_output"))])
        y = norm(x, weight("ffn_norm"))
        gate, up = product(y, weight("ffn_gate")), product(y, weight("ffn_up"))
        gate = graph.add("Mul", [gate, graph.add("Sigmoid", [gate])])
        x = graph.add("Add", [x, product(graph.add("Mul", [gate, up]), weight("ffn_down"))])
    # The logits after the last token only, as the other engines compute them.
    last = graph.constant("last", np.array([-1], np.int64))
    x = norm(graph.add("Gather", [x, last], axis=1), "output_norm.weight")
    outputs = [(product(x, "token_embd.weight"), "logits"), *presents]
    graph.nodes += [helper.make_node("Identity", [inner], [outer]) for inner, outer in outputs]

    info = helper.make_tensor_value_info
    inputs = [
        info("input_ids", TensorProto.INT64, [1, "tokens"]),
        info("seqlens_k", TensorProto.INT32, [1]),
        info("total_sequence_length", TensorProto.INT32, [1]),
        *(info(name, TensorProto.FLOAT, [1, kv_heads, "past", head]) for name in pasts),
    ]
    outputs = [info(outer, TensorProto.FLOAT, None) for _, outer in outputs]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "llama", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    onnx.save(model, target)


main()

// onnxruntime-web on the CPU, with the model that `onnx_model.py` writes.

import * as ort from './node_modules/onnxruntime-web/dist/ort.wasm.min.mjs';

export async function start({ model, threads }) {
  ort.env.wasm.numThreads = threads;
  const bytes = await (await fetch(model)).arrayBuffer();
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  });
  const int32 = (value, shape) => new ort.Tensor('int32', Int32Array.of(value), shape);
  const pasts = session.inputNames.filter((name) => name.startsWith('past'));
  const { shape } = session.inputMetadata.find(({ name }) => name === pasts[0]);
  const empty = [1, shape[1], 0, shape[3]];
  let outputs;
  async function read(tokens, position) {
    const ids = BigInt64Array.from(tokens, BigInt);
    const total = position + tokens.length;
    const feeds = {
      input_ids: new ort.Tensor('int64', ids, [1, tokens.length]),
      seqlens_k: int32(total - 1, [1]),
      total_sequence_length: int32(total, [1]),
    };
    for (const past of pasts) {
      feeds[past] =
        position > 0
          ? outputs[past.replace('past', 'present')]
          : new ort.Tensor('float32', new Float32Array(0), empty);
    }
    outputs = await session.run(feeds);
  }
  const logits = (count) => outputs.logits.data.subarray(0, count);
  return { read, logits, end: () => session.release() };
}

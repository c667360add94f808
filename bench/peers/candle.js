// Candle's own quantized Llama in WebAssembly (the crate in `candle/`), on one thread: it has no
// more there.

import init, { Model } from '../../target/bench/candle/page/candle_peer.js';

export async function start({ model }) {
  await init();
  const weights = new Model(new Uint8Array(await (await fetch(model)).arrayBuffer()));
  let last;
  return {
    read: (tokens, position) => (last = weights.forward(Uint32Array.from(tokens), position)),
    logits: (count) => last.subarray(0, count),
  };
}

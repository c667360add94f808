// wllama 2 or 3: llama.cpp in WebAssembly.

import { perSecond } from './measure.js';

export async function start({ model, threads, version, promptTokens, decodeTokens }) {
  const { Wllama } = await import(`./node_modules/wllama-${version}/esm/index.js`);
  const file = (path) => new URL(`node_modules/wllama-${version}/esm/${path}`, location.href).href;
  const files =
    version === '2'
      ? {
          'single-thread/wllama.wasm': file('single-thread/wllama.wasm'),
          'multi-thread/wllama.wasm': file('multi-thread/wllama.wasm'),
        }
      : { default: file('wasm/wllama.wasm') };
  const wllama = new Wllama(files, { suppressNativeLog: true });
  const blob = await (await fetch(model)).blob();
  await wllama.loadModel([blob], {
    n_threads: threads,
    n_ctx: 1024,
    n_batch: 512,
    n_gpu_layers: 0,
  });
  if (threads > 1 && wllama.getNumThreads() !== threads) {
    throw new Error(`runs on ${wllama.getNumThreads()} threads, not ${threads}`);
  }
  const end = () => wllama.exit();
  if (version === '3') return { run: () => completion(wllama, promptTokens, decodeTokens), end };
  const read = async (tokens, position) => {
    if (position === 0) await wllama.kvClear();
    await wllama.decode(tokens, {});
  };
  return { read, end };
}

// Version 3 has whole completions only, and reports llama.cpp's own times of both phases. In the
// generated file's tokenizer every character is a token.
async function completion(wllama, promptTokens, decodeTokens) {
  const prompt = Array.from({ length: promptTokens }, (_, k) => 'abcdefg '[k % 8]).join('');
  const { timings } = await wllama.createCompletion({
    prompt,
    max_tokens: decodeTokens,
    temperature: 0,
    top_k: 1,
    ignore_eos: true,
    cache_prompt: false,
  });
  if (timings?.prompt_n !== promptTokens || timings.predicted_n !== decodeTokens) {
    throw new Error(
      `expected ${promptTokens} + ${decodeTokens} tokens, found ${JSON.stringify(timings)}`,
    );
  }
  return {
    prefill_tps: perSecond(timings.prompt_n, timings.prompt_ms),
    // The first token falls out of the prompt.
    decode_tps: perSecond(timings.predicted_n - 1, timings.predicted_ms),
  };
}

// Runs wllama 2 or 3 as `bench.html` runs Lotwise's engine, and sets `window.benchResult` to an
// object with the same `runs`, or with `error`.

const parameters = new URL(location.href).searchParams;
const number = (name) => Number(parameters.get(name));
const [threads, promptTokens, decodeTokens, runs] =
  ['threads', 'prompt_tokens', 'decode_tokens', 'runs'].map(number);
const major = number('major');
const status = document.getElementById('status');
const perSecond = (count, milliseconds) => (1000 * count) / milliseconds;

try {
  window.benchResult = await measure();
} catch (error) {
  window.benchResult = { error: `wllama ${major}: ${error?.message ?? error}` };
}
status.textContent = JSON.stringify(window.benchResult);

async function measure() {
  const { Wllama } = await import(`./node_modules/wllama-${major}/esm/index.js`);
  const file = (path) => new URL(`node_modules/wllama-${major}/esm/${path}`, location.href).href;
  const files =
    major === 2
      ? {
          'single-thread/wllama.wasm': file('single-thread/wllama.wasm'),
          'multi-thread/wllama.wasm': file('multi-thread/wllama.wasm'),
        }
      : { default: file('wasm/wllama.wasm') };
  const wllama = new Wllama(files, { suppressNativeLog: true });
  const model = await (await fetch(parameters.get('model'))).blob();
  const started = performance.now();
  await wllama.loadModel([model], {
    n_threads: threads,
    n_ctx: 1024,
    n_batch: 512,
    n_gpu_layers: 0,
  });
  const load_s = (performance.now() - started) / 1000;
  if (threads > 1 && wllama.getNumThreads() !== threads) {
    throw new Error(`runs on ${wllama.getNumThreads()} threads, not ${threads}`);
  }
  const run = major === 2 ? stepByStep : completion;
  // As often as our own page does it, with the same rest for the browser's compiler.
  for (let k = 0; k < 2; k++) {
    await run(wllama, promptTokens, decodeTokens);
    await new Promise((done) => setTimeout(done, 500));
  }
  const results = [];
  for (let k = 0; k < runs; k++) {
    results.push(await run(wllama, promptTokens, decodeTokens));
    status.textContent = `Run ${k + 1} of ${runs}`;
  }
  await wllama.exit();
  return { runs: results, load_s, browser: navigator.userAgent, threads };
}

// Version 2 has the single steps: the prompt, and then token after token with its logits.
async function stepByStep(wllama, promptTokens, decodeTokens) {
  await wllama.kvClear();
  let started = performance.now();
  await wllama.decode(Array.from({ length: promptTokens }, (_, k) => k % 200), {});
  const prefill_tps = perSecond(promptTokens, performance.now() - started);
  started = performance.now();
  for (let k = 0; k < decodeTokens; k++) await wllama.decode([k % 200], {});
  return { prefill_tps, decode_tps: perSecond(decodeTokens, performance.now() - started) };
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

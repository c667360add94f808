// What every peer is measured by, as `bench.html` measures Lotwise's engine.
//
// A peer's `start(options)` returns an object with `read(tokens, position)`, which reads tokens
// behind `position` others (0: behind none) up to the logits after the last of them. It may have
// `logits(count)`, the first of these, and `end()`. A peer that cannot be driven token by token has
// `run()` in place of `read`.

/** Runs that do not count: they pay for the browser's compiler. */
const WARM_UPS = 2;
/** Rest after each of them, for the compiler's own threads. */
const COMPILE_MS = 500;
/** Logits that are compared with those of Lotwise's native engine. */
const LOGITS = 256;

export const perSecond = (count, milliseconds) => (1000 * count) / milliseconds;

/** Every id is a byte of the generated file's vocabulary. */
export const prompt = (length) => Array.from({ length }, (_, k) => k % 200);

export async function measure(start, options, say = () => {}) {
  const started = performance.now();
  const peer = await start(options);
  const load_s = (performance.now() - started) / 1000;
  const run = peer.run ?? (() => stepByStep(peer, options));
  const runs = [];
  for (let k = 0; k < WARM_UPS + options.runs; k++) {
    say(`Run ${k + 1} of ${WARM_UPS + options.runs}`);
    const measured = await run();
    if (k >= WARM_UPS) runs.push(measured);
    else await new Promise((done) => setTimeout(done, COMPILE_MS));
  }
  let logits;
  if (peer.logits) {
    await peer.read(prompt(options.promptTokens), 0);
    logits = Array.from(await peer.logits(LOGITS));
  }
  await peer.end?.();
  return { runs, load_s, logits, threads: options.threads };
}

async function stepByStep(peer, { promptTokens, decodeTokens }) {
  const tokens = prompt(promptTokens);
  let started = performance.now();
  await peer.read(tokens, 0);
  const prefill_tps = perSecond(promptTokens, performance.now() - started);
  started = performance.now();
  for (let k = 0; k < decodeTokens; k++) await peer.read([k % 200], promptTokens + k);
  return { prefill_tps, decode_tps: perSecond(decodeTokens, performance.now() - started) };
}

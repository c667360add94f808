// llama.cpp itself, the build that npm's node-llama-cpp ships, natively:
//   node llama.js MODEL THREADS PROMPT_TOKENS DECODE_TOKENS RUNS
// prints the object that the other peers' page puts into `window.benchResult`.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { measure } from './measure.js';

const [model, ...numbers] = process.argv.slice(2);
const [threads, promptTokens, decodeTokens, runs] = numbers.map(Number);
const bins = new URL('node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/', import.meta.url);
const said = await measure(start, { model, threads, promptTokens, decodeTokens, runs });
console.log(JSON.stringify(said));
// Its threads would keep the process.
process.exit(0);

async function start({ model, threads }) {
  const folder = fileURLToPath(bins);
  const llama = createRequire(import.meta.url)(`${folder}llama-addon.node`);
  const log = [];
  llama.setLogger((_level, message) => log.push(message));
  // The package has a build for every generation of processors; the best one is taken.
  llama.loadBackends(folder);
  await llama.init();
  const weights = new llama.AddonModel(model, { addonExports: llama, useMmap: true });
  if (!(await weights.init())) throw new Error(`cannot load ${model}: ${log.join('')}`);
  const context = new llama.AddonContext(weights, {
    contextSize: 1024,
    batchSize: 512,
    sequences: 1,
    threads,
    flashAttention: 'auto',
  });
  if (!(await context.init())) throw new Error(`no context: ${log.join('')}`);
  const sampler = new llama.AddonSampler(weights);
  sampler.applyConfig({ temperature: 0 });
  let last = 0;
  async function read(tokens, position) {
    if (position === 0) context.disposeSequence(0);
    last = tokens.length - 1;
    context.initBatch(tokens.length);
    context.addToBatch(0, position, Uint32Array.from(tokens), Uint32Array.of(last));
    await context.decodeBatch();
  }
  // They come as pairs of token and logit, in some order.
  async function logits(count) {
    const tokens = Array.from({ length: count }, (_, token) => token);
    const wanted = [tokens, false, false, false, 0];
    const [, , , pairs] = await context.sampleToken(last, sampler, false, false, wanted);
    const found = new Map();
    for (let k = 0; k < pairs.length; k += 2) found.set(pairs[k], pairs[k + 1]);
    return tokens.map((token) => found.get(token));
  }
  return { read, logits };
}

// Measures the peer that the query names and sets `window.benchResult` to an object with the `runs`
// that `bench.html` has, or with `error`.

import { measure } from './measure.js';

const parameters = new URL(location.href).searchParams;
const number = (name) => Number(parameters.get(name));
const options = {
  model: parameters.get('model'),
  threads: number('threads'),
  promptTokens: number('prompt_tokens'),
  decodeTokens: number('decode_tokens'),
  runs: number('runs'),
};
const [engine, version] = parameters.get('engine').split('-');
const status = document.getElementById('status');
const say = (text) => (status.textContent = text);

try {
  const { start } = await import(`./${engine}.js`);
  const said = await measure(start, { ...options, version }, say);
  window.benchResult = { ...said, browser: navigator.userAgent };
} catch (error) {
  window.benchResult = { error: `${engine}: ${error?.message ?? error}` };
}
say(JSON.stringify(window.benchResult));

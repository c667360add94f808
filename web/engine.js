// Starts the engine worker. The query is the build's identity: it keeps a browser from pairing
// files of two builds, because these names do not carry a hash.

const build = new URL(import.meta.url).search;

// A failed promise does not reach the page by itself; a reported error does.
addEventListener('unhandledrejection', (event) => reportError(event.reason));

// A rank that traps says no last word. Nobody must wait for it: the third word of the memory that
// ranks share says so (see `engine::exchange`), to those who spin and to those who sleep.
let words;
addEventListener('message', ({ data }) => {
  const shared = Array.isArray(data) && data.find((part) =>
    globalThis.SharedArrayBuffer && part instanceof SharedArrayBuffer);
  if (shared) words = new Int32Array(shared, 0, 8);
});
addEventListener('error', () => {
  if (!words) return;
  Atomics.store(words, 2, 1);
  for (const place of [0, 1]) Atomics.notify(words, place);
});

try {
  const { default: init } = await import(`./worker.js${build}`);
  const program = await fetch(new URL(`./worker_bg.wasm${build}`, import.meta.url));
  // The worker hashes the bytes that were compiled, not what the address holds later.
  globalThis.program = program.clone();
  await init({ module_or_path: program });
} catch (error) {
  reportError(error);
}

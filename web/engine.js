// Starts the engine worker. The query is the build's identity: it keeps a browser from pairing
// files of two builds, because these names do not carry a hash.

const build = new URL(import.meta.url).search;

// A failed promise does not reach the page by itself; a reported error does.
addEventListener('unhandledrejection', (event) => reportError(event.reason));

try {
  const { default: init } = await import(`./worker.js${build}`);
  const program = await fetch(new URL(`./worker_bg.wasm${build}`, import.meta.url));
  // The worker hashes the bytes that were compiled, not what the address holds later.
  globalThis.program = program.clone();
  await init({ module_or_path: program });
} catch (error) {
  reportError(error);
}

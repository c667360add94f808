// Starts the page: checks what WebAssembly code cannot check for itself, loads the page's module,
// and has the service worker keep the site's own files for offline use.

const script = document.querySelector('script[data-wasm]');
const root = document.documentElement;

/** Shows one of the static panels of index.html in place of the page. */
function show(id, reason = '') {
  document.getElementById('app').hidden = true;
  const panel = document.getElementById(id);
  const place = panel.querySelector(`#${id}-reason`);
  if (place) place.textContent = reason;
  panel.hidden = false;
  root.dataset.state = 'error';
  root.dataset.error = id;
}

/** Whether WebAssembly SIMD is there: validates a function that uses one of its instructions. */
function hasSimd() {
  return typeof WebAssembly === 'object' && WebAssembly.validate(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
    10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
  ]));
}

/** Addresses of everything that the page itself is made of. */
function shell() {
  const build = `?build=${root.dataset.build}`;
  const parts = [...document.querySelectorAll('link[href]')].map((link) => link.href);
  const scripts = [script.src, script.dataset.js, script.dataset.wasm];
  const worker = ['engine.js', 'worker.js', 'worker_bg.wasm'].map((name) => name + build);
  return ['./', ...parts, ...scripts, ...worker].map((part) => new URL(part, location.href).href);
}

/** Offline use is an extra: a site without HTTPS, or a private window, works without it. */
async function keepForOffline() {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register('sw.js');
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage({ keep: shell() });
  } catch (error) {
    console.warn('This site is not kept for offline use:', error);
  }
}

for (const button of document.querySelectorAll('[data-reload]')) {
  button.addEventListener('click', () => location.reload());
}

if (hasSimd()) {
  try {
    const { default: init } = await import(new URL(script.dataset.js, location.href));
    await init({ module_or_path: new URL(script.dataset.wasm, location.href) });
    keepForOffline();
  } catch (error) {
    // A panic has shown its own message already.
    if (root.dataset.state !== 'error') show('page-stopped', String(error));
  }
} else {
  show('no-simd');
}

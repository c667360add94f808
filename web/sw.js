// Keeps the site's own files, so that the page opens offline, and isolates the page from other
// sites, which static servers often do not. Model and adapter files are not its business: the engine
// worker keeps those by their hash.

const SHELL = `lotwise-shell ${registration.scope}`;
const START = registration.scope;
const DATA = ['models/', 'adapters/'].map((folder) => START + folder);

// Only a page that comes with these headers, and workers that do, are lent memory that workers
// share. A first visit passes this file by: it runs on one processor core.
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

/** Keeps exactly these addresses: fetches the missing ones, drops the rest. */
async function keep(addresses) {
  const cache = await caches.open(SHELL);
  for (const address of addresses) {
    // Every address but the start page's names one version of its content.
    if (address !== START && await cache.match(address)) continue;
    const response = await fetch(address, { cache: 'no-cache' });
    if (response.ok) await cache.put(address, response);
  }
  for (const request of await cache.keys()) {
    if (!addresses.includes(request.url)) await cache.delete(request);
  }
}

/** The start page: fresh where the server answers, kept otherwise. */
async function start(request) {
  try {
    return await fetch(request.url, { cache: 'no-cache', redirect: 'manual' });
  } catch (error) {
    const kept = await (await caches.open(SHELL)).match(START);
    if (kept) return kept;
    throw error;
  }
}

/** A part of the page: kept copies are exact, because their addresses carry the version. */
async function part(request) {
  const kept = await (await caches.open(SHELL)).match(request.url, { ignoreVary: true });
  return kept ?? fetch(request);
}

/** The response with the headers of ISOLATION, as far as the server has not sent its own. */
function isolated(response) {
  // A redirect can only be passed on as it is.
  if (response.type === 'opaqueredirect' || response.type === 'error') return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) {
    if (!headers.has(name)) headers.set(name, value);
  }
  const { body, status, statusText } = response;
  return new Response(body, { status, statusText, headers });
}

addEventListener('message', (event) => {
  if (Array.isArray(event.data?.keep)) event.waitUntil(keep(event.data.keep));
});

addEventListener('fetch', (event) => {
  const { request } = event;
  const inScope = request.url.startsWith(START) && !DATA.some((path) => request.url.startsWith(path));
  if (request.method !== 'GET' || !inScope) return;
  if (request.mode === 'navigate') event.respondWith(start(request).then(isolated));
  else if (request.destination === 'worker') event.respondWith(part(request).then(isolated));
  else event.respondWith(part(request));
});

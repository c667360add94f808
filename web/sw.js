// Keeps the site's own files, so that the page opens offline. Model and adapter files are not its
// business: the engine worker keeps those by their hash.

const SHELL = `lotwise-shell ${registration.scope}`;
const START = registration.scope;
const DATA = ['models/', 'adapters/'].map((folder) => START + folder);

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

addEventListener('message', (event) => {
  if (Array.isArray(event.data?.keep)) event.waitUntil(keep(event.data.keep));
});

addEventListener('fetch', (event) => {
  const { request } = event;
  const inScope = request.url.startsWith(START) && !DATA.some((path) => request.url.startsWith(path));
  if (request.method !== 'GET' || !inScope) return;
  event.respondWith(request.mode === 'navigate' ? start(request) : part(request));
});

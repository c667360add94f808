// The benchmark page: hands its query to an engine worker of its own, shows what comes back, and
// leaves it in `window.benchResult` for scripts.

const status = document.getElementById('status');

/** Fills a table's body and shows it. */
function fill(id, rows) {
  const table = document.getElementById(id);
  for (const cells of rows) {
    const row = table.tBodies[0].insertRow();
    for (const cell of cells) row.insertCell().textContent = cell;
  }
  table.hidden = false;
}

/** Shows the end, and publishes it. */
function finish(result) {
  window.benchResult = result;
  const { error, runs = [], ...facts } = result;
  status.textContent = error ? `Failed. ${error}` : 'Done.';
  if (runs.length) {
    fill('runs', runs.map((run, index) => [index + 1, run.prefill_tps.toFixed(1), run.decode_tps.toFixed(1)]));
  }
  fill('facts', Object.entries(facts));
  const raw = document.getElementById('raw');
  raw.querySelector('pre').textContent = JSON.stringify(result, null, 2);
  raw.hidden = false;
  document.documentElement.dataset.state = error ? 'error' : 'done';
}

const browser = navigator.userAgent;
// The engine's files have no hash in their names: a new address each time is sure to be this build.
const worker = new Worker(`engine.js?bench=${Date.now()}`, { type: 'module' });
worker.onerror = (event) => {
  worker.terminate();
  finish({ error: `The engine stopped: ${event.message ?? 'its script could not be loaded'}`, browser });
};
worker.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  switch (message.type) {
    case 'started': {
      const parameters = Object.fromEntries(new URLSearchParams(location.search));
      worker.postMessage([JSON.stringify({ type: 'bench', parameters })]);
      break;
    }
    case 'benching':
      status.textContent = `${message.step}\u2026`;
      break;
    case 'benched': {
      const { type, ...result } = message;
      finish({ ...result, browser });
      break;
    }
    case 'bench-failed':
    case 'failed':
      worker.terminate();
      finish({ error: message.words ?? message.reason, browser });
      break;
  }
};

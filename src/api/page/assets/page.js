// Keeps an open page true.
//
// The server draws the page, and nothing of an invoice is drawn here. Whenever something may have changed, the page is
// asked for again, and where the new one differs, the one that is shown becomes like it: focus, selection and the
// chosen tab stay. The WebSocket only says when to ask; where there is none, the page is asked for every few seconds.
//
// `main` says what there is to know: where the socket is and from which event on (`data-socket`, `data-since`), what
// time it is for the server (`data-now`), and how long what is shown may go unasked (`data-again`, in seconds).
// `data-live` of the document says whether we hear of changes: `on` or `off`.

const root = document.documentElement;
const main = document.querySelector("main");
const script = document.querySelector("script[src]").getAttribute("src");

// All in milliseconds.
const SPACING = 1_000; // between two questions, at least
const POLL = 5_000; // between two questions while there is no socket
const POLL_FINAL = 60_000; // the same, when nothing more is expected
const PATIENCE = 15_000; // for an answer
const RECONNECT = 1_000; // after which a lost socket is tried again, twice as long each time,
const RECONNECT_MOST = 30_000; // up to this
const DAY = 86_400_000;

// When the page was last asked for, is to be asked for, and the timer for that.
let asked = performance.now();
let due = Infinity;
let timer;
let asking = false;

let socket;
let failures = 0;

// What the server's clock says when ours, which never jumps, says 0.
let epoch;

// A number of about this size, so that many pages do not come back in step.
const about = (number) => number * (0.5 + Math.random());

// Asks for the page after a time, if it is not to be asked for sooner.
function askWithin(delay) {
  const at = Math.max(performance.now() + delay, asked + SPACING);
  if (at >= due) return;
  due = at;
  clearTimeout(timer);
  timer = setTimeout(ask, at - performance.now());
}

async function ask() {
  if (asking) {
    due = Infinity;
    askWithin(SPACING);
    return;
  }
  asking = true;
  asked = performance.now();
  due = Infinity;
  const patience = new AbortController();
  const alarm = setTimeout(() => patience.abort(), PATIENCE);
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" },
      cache: "no-store",
      signal: patience.signal,
    });
    take(answer.status, new DOMParser().parseFromString(await answer.text(), "text/html"));
    root.dataset.live = "on";
  } catch {
    // No network, a server that restarts, a proxy without one: what is shown stays, and says so.
    root.dataset.live = "off";
  }
  clearTimeout(alarm);
  asking = false;
  if (due === Infinity) askAgain();
}

// The next question, if nothing happens before. Nobody sees a hidden page: that asks when it is shown.
function askAgain() {
  clearTimeout(timer);
  due = Infinity;
  if (document.hidden) return;
  const seconds = Number(main.dataset.again);
  if (root.dataset.live === "on" && socket?.readyState === WebSocket.OPEN) {
    if (seconds) askWithin(seconds * 1_000);
  } else {
    askWithin(about(seconds || root.dataset.live === "off" ? POLL : POLL_FINAL));
  }
}

// Shows what the server drew.
function take(status, fresh) {
  const drawn = fresh.querySelector("main");
  const found = status === 200 || status === 404;
  if (!drawn || (!found && main.dataset.socket)) throw new Error(`no page, but status ${status}`);
  const another = fresh.querySelector("script[src]")?.getAttribute("src") !== script;
  if (another || found !== Boolean(main.dataset.socket) || status === 404) {
    // It comes from another version of the program, or what was away is there, or what was there is gone.
    location.reload();
    return;
  }
  document.title = fresh.title;
  become(main, drawn);
  if (found) dress();
}

// Makes one element like another, and leaves alone what is already.
function become(shown, drawn) {
  for (const { name } of [...shown.attributes]) {
    if (!drawn.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of drawn.attributes) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  let at = shown.firstChild;
  for (const node of [...drawn.childNodes]) {
    // What has an id may have been moved up by what went away before it.
    let same = at;
    while (same && !isSame(same, node)) same = node.id ? same.nextSibling : null;
    if (!same) {
      shown.insertBefore(node, at);
      continue;
    }
    for (; at !== same; at = drop(at));
    if (same.nodeType === Node.ELEMENT_NODE) become(same, node);
    else if (same.nodeValue !== node.nodeValue) same.nodeValue = node.nodeValue;
    at = same.nextSibling;
  }
  while (at) at = drop(at);
}

function isSame(shown, drawn) {
  return shown.nodeName === drawn.nodeName && (shown.id ?? "") === (drawn.id ?? "");
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// What a drawn page needs of us: the server's clock, and times as they are written here.
function dress() {
  epoch = Date.parse(main.dataset.now) - performance.now();
  const format = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "long" });
  for (const time of main.querySelectorAll("time")) {
    time.textContent = format.format(new Date(time.dateTime));
  }
  delete root.dataset.over;
  tick();
}

// The time that is left, to the second; days are left to the server. When it is over, nothing asks for money any more,
// whether or not the server can be reached.
let ticked = Date.now();
function tick() {
  // A machine that slept has missed what happened.
  if (Date.now() - ticked > POLL && !document.hidden) askWithin(0);
  ticked = Date.now();
  const element = document.getElementById("left");
  if (!element) return;
  const left = Date.parse(element.dataset.until) - epoch - performance.now();
  if (left < 0) {
    root.dataset.over = "";
    askWithin(0);
  }
  if (left < DAY) {
    const seconds = Math.max(0, Math.floor(left / 1_000));
    const two = (number) => String(Math.floor(number)).padStart(2, "0");
    const hours = Math.floor(seconds / 3_600);
    const parts = [two((seconds / 60) % 60), two(seconds % 60)];
    element.textContent = hours ? `${hours}:${parts.join(":")}` : parts.join(":");
  }
}

// Listens to what happens to the invoice, from the last event that is shown.
function connect() {
  const url = new URL(main.dataset.socket, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("since", main.dataset.since);
  try {
    socket = new WebSocket(url);
  } catch {
    // The browser forbids it. The page is asked for instead.
    return;
  }
  socket.onopen = () => {
    // What happened meanwhile comes as events; what is no event does not.
    if (failures) askWithin(0);
    else askAgain();
  };
  socket.onmessage = () => {
    failures = 0;
    askWithin(0);
  };
  socket.onclose = () => {
    socket = undefined;
    const delay = Math.min(RECONNECT_MOST, RECONNECT * 2 ** failures);
    failures += 1;
    setTimeout(() => main.dataset.socket && !socket && connect(), about(delay));
    askWithin(about(RECONNECT));
  };
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // There is no clipboard for a page that came over plain HTTP, or in a frame: the old way.
    const area = document.createElement("textarea");
    area.className = "unseen";
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  if (!button || !(await copy(button.dataset.copy))) return;
  button.focus();
  const said = document.getElementById("said");
  said.textContent = main.dataset.copied;
  setTimeout(() => (said.textContent = ""), 2_000);
});
document.addEventListener("visibilitychange", () => document.hidden || askWithin(0));
addEventListener("pageshow", ({ persisted }) => persisted && askWithin(0));
addEventListener("online", () => askWithin(0));

if (main.dataset.socket) {
  dress();
  connect();
  setInterval(tick, 1_000);
}
if (main.dataset.socket || main.dataset.again) {
  // Only now: a browser in which something above fails shows a page that does not claim to be live.
  root.dataset.live = "on";
  askAgain();
}

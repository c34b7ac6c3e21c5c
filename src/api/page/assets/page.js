// Keeps an open page true.
//
// The server draws the page. The script itself draws one thing alone: that the time of an invoice is over. Whenever
// something may have changed, the script asks for the page again. Where the new page differs, the shown one becomes like
// it: focus, selection and the chosen tab stay. The WebSocket only says when to ask; without a socket the script asks
// every few seconds.
//
// The attributes of `main` tell where the socket is, from which event on and in which event log (`data-socket`,
// `data-since`, `data-log`), what time it is for the server (`data-now`), how long the shown page may go unasked
// (`data-again`, in seconds), and the words for what happens here (`data-copied`, `data-expired`, `data-over-text`).
// `data-live` of the document says whether we hear of changes: `on` or `off`.

const root = document.documentElement;
const main = document.querySelector("main");
const script = sourceOfScript(document);

// All in milliseconds.
const SPACING = 1_000; // between two questions, at least
const POLL = 5_000; // between two questions while there is no socket
const POLL_FINAL = 60_000; // the same, when nothing more is expected
const PATIENCE = 15_000; // for an answer
const RECONNECT = 1_000; // after which a lost socket is tried again, twice as long each time,
const RECONNECT_MOST = 30_000; // up to this
const SAID = 2_000; // for which it is said that something was copied
const DAY = 86_400_000;

// The socket's close code for a position that is not in the server's event log.
const OTHER_LOG = 4409;

// When the page was last asked for, is to be asked for, and the timer for that.
let asked = performance.now();
let due = Infinity;
let timer;
let asking = false;

let socket;
let failures = 0;

// The number of the last event that the socket told of.
let told = 0;

// The server's time when the page was drawn, and what our clocks said then. The one does not jump, the other goes on
// while the machine sleeps.
let drawnAt;
let steady;
let wall;

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
  if (document.hidden) return;
  const seconds = Number(main.dataset.again);
  if (!main.dataset.socket) askWithin(about(seconds * 1_000));
  else if (isHearing()) askWithin(seconds * 1_000);
  else askWithin(about(seconds > 60 ? POLL_FINAL : POLL));
}

function isHearing() {
  return root.dataset.live === "on" && socket?.readyState === WebSocket.OPEN;
}

// Shows what the server drew.
function take(status, fresh) {
  const drawn = fresh.querySelector("main");
  const found = status === 200 || status === 404;
  const source = sourceOfScript(fresh);
  // What a proxy or a hotel has to say instead is none of ours, and no fault takes the place of an invoice.
  const isOurs = drawn && source && (found || (!main.dataset.socket && drawn.dataset.again));
  if (!isOurs) throw new Error(`no page, but status ${status}`);
  if (source !== script || found !== Boolean(main.dataset.socket) || status === 404) {
    // It comes from another version of the program, or what was away is there, or what was there is gone.
    location.reload();
    return;
  }
  // Something happened of which the socket did not tell: there may be nobody at its other end.
  if (isHearing() && drawn.dataset.since > Math.max(told, main.dataset.since)) hangUp();
  const focused = document.activeElement;
  document.title = fresh.title;
  become(main, drawn);
  if (found) dress();
  if (focused && !focused.isConnected) headline().focus();
}

function sourceOfScript(page) {
  return page.getElementById("page")?.getAttribute("src");
}

function headline() {
  return main.querySelector("h1");
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

// An image is another one when its address is: the old one would stay until the new one has come.
function isSame(shown, drawn) {
  const source = (node) => node.getAttribute?.("src");
  const isNamesake = shown.nodeName === drawn.nodeName && (shown.id ?? "") === (drawn.id ?? "");
  return isNamesake && source(shown) === source(drawn);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// What a drawn page needs of us: the time, and times as they are written here.
function dress() {
  drawnAt = Date.parse(main.dataset.now);
  steady = performance.now();
  wall = Date.now();
  const format = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "long" });
  // A browser that does not know these would leave the time of day away.
  if (format.resolvedOptions().timeStyle) {
    for (const time of main.querySelectorAll("time")) {
      time.textContent = format.format(new Date(time.dateTime));
    }
  }
  delete root.dataset.over;
  tick();
}

// The time that is left, to the second; days are left to the server.
let ticked = Date.now();
function tick() {
  if (Date.now() - ticked > POLL && !document.hidden) isBack();
  ticked = Date.now();
  const element = document.getElementById("left");
  if (!element) return;
  const passed = Math.max(performance.now() - steady, Date.now() - wall);
  const left = Date.parse(element.dataset.until) - drawnAt - passed;
  if (left < 0 && root.dataset.over === undefined) isOver();
  if (left < DAY) {
    const seconds = Math.max(0, Math.floor(left / 1_000));
    const two = (number) => String(Math.floor(number)).padStart(2, "0");
    const hours = Math.floor(seconds / 3_600);
    const parts = [two((seconds / 60) % 60), two(seconds % 60)];
    element.textContent = hours ? `${hours}:${parts.join(":")}` : parts.join(":");
  }
}

// The time to pay is over: nothing asks for money any more, whether or not the server can be reached.
function isOver() {
  root.dataset.over = "";
  const state = document.getElementById("state");
  state.className = "state stop";
  document.title = headline().textContent = main.dataset.expired;
  state.querySelector("p").textContent = main.dataset.overText;
  if (document.getElementById("pay")?.contains(document.activeElement)) headline().focus();
  askWithin(0);
}

// The page is seen again, or the machine woke up. Nobody knows what was missed, nor whether the socket still leads
// anywhere.
function isBack() {
  ticked = Date.now();
  hangUp();
  askWithin(0);
}

// Listens to what happens to the invoice, from the last event that is shown.
function connect() {
  const url = new URL(main.dataset.socket, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("since", main.dataset.since);
  url.searchParams.set("log", main.dataset.log);
  try {
    socket = new WebSocket(url);
  } catch {
    // The browser forbids it. The page is asked for instead.
    return;
  }
  let opened = Infinity;
  socket.onopen = () => {
    opened = performance.now();
    // What happened meanwhile comes as events; what is no event does not.
    if (failures) askWithin(0);
    else if (!asking && due - performance.now() > SPACING) {
      // It was to be asked for as if there were no socket.
      clearTimeout(timer);
      due = Infinity;
      askAgain();
    }
  };
  socket.onmessage = ({ data }) => {
    const { n } = JSON.parse(data);
    // The first message, `hello`, is no event.
    if (n === undefined) return;
    told = n;
    askWithin(0);
  };
  socket.onclose = ({ code }) => {
    socket = undefined;
    // Events are numbered anew: the page that is asked for next says from where on.
    if (code === OTHER_LOG) told = 0;
    if (performance.now() - opened > RECONNECT_MOST) failures = 0;
    const delay = Math.min(RECONNECT_MOST, RECONNECT * 2 ** failures);
    failures += 1;
    setTimeout(connect, about(delay));
    if (!document.hidden) askWithin(about(RECONNECT));
  };
}

// Gives up a socket for another one, without waiting for its other end to agree.
function hangUp() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.onmessage = socket.onclose = null;
  socket.close();
  socket = undefined;
  setTimeout(connect, about(RECONNECT));
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

let saying;
async function copied({ target }) {
  const button = target.closest?.("[data-copy]");
  if (!button || !(await copy(button.dataset.copy))) return;
  button.focus();
  const said = document.getElementById("said");
  said.textContent = main.dataset.copied;
  clearTimeout(saying);
  saying = setTimeout(() => (said.textContent = ""), SAID);
}

// A code that did not come over a bad line is asked for again; a browser would not.
function isMissing({ target }) {
  setTimeout(() => (target.src = target.getAttribute("src")), about(POLL));
}

if (main.dataset.socket) {
  dress();
  connect();
  setInterval(tick, 1_000);
  document.addEventListener("click", copied);
  main.addEventListener("error", isMissing, true);
  // This came later than the codes, and may have missed that one did not come.
  for (const image of main.querySelectorAll("img")) {
    if (image.complete && !image.naturalWidth) isMissing({ target: image });
  }
}
if (main.dataset.again) {
  document.addEventListener("visibilitychange", () => document.hidden || isBack());
  addEventListener("pageshow", ({ persisted }) => persisted && isBack());
  addEventListener("online", isBack);
  // Only now: a browser in which something above fails shows a page that does not claim to be live.
  root.dataset.live = "on";
  askAgain();
}

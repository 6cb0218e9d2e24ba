// The console's script: live parts over server-sent events, a filter, a few keys.
// Every page works without it.

const live = document.querySelector("[data-live]");
const state = document.querySelector("[data-state]");
const cutOff = document.querySelector("[data-cut-off]");
// After which a stream that the server has refused is asked for again.
const AGAIN_MS = 2000;
const filter = document.querySelector("[data-filter]");
let source = null;
let heardAt = new Date();

function say(text) {
  if (state && state.dataset.state !== text) {
    state.textContent = text;
    state.dataset.state = text;
  }
  const isCutOff = text === "reconnecting";
  if (cutOff && cutOff.hidden === isCutOff) {
    const since = heardAt.toISOString().slice(11, 19);
    cutOff.textContent = isCutOff ? `The server does not answer. What is shown is of ${since}; trying again.` : "";
    cutOff.hidden = !isCutOff;
  }
}

// Replaces one part, leaves what is open, scrolled or focused so, and marks rows that were not there before unless most of them are new.
function show(part, markup) {
  const rows = () => [...part.querySelectorAll("tr[data-key]")];
  const known = new Set(rows().map((row) => row.dataset.key));
  const active = part.contains(document.activeElement) && document.activeElement;
  const focused = active && active.getAttribute("href");
  const all = (kind) => [...part.querySelectorAll(kind)];
  const opened = all("details").map((details) => details.open);
  const summary = all("summary").indexOf(active);
  const scrolled = all(".scroll").map((box) => [box.scrollLeft, box.scrollTop]);
  part.innerHTML = markup;
  all("details").forEach((details, n) => (details.open = opened[n] ?? false));
  all(".scroll").forEach((box, n) => ([box.scrollLeft, box.scrollTop] = scrolled[n] ?? [0, 0]));
  all("summary")[summary]?.focus();
  sift();
  const arrived = rows().filter((row) => !known.has(row.dataset.key));
  if (arrived.length * 2 < rows().length) {
    for (const row of arrived) row.classList.add("new");
  }
  if (focused) {
    all("a").find((a) => a.getAttribute("href") === focused)?.focus();
  }
}

// Text that is being selected is left alone.
function busy(part) {
  const selection = getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

function connect() {
  if (!live || source) return;
  source = new EventSource(live.dataset.live);
  source.onopen = () => say("live");
  source.onerror = () => {
    say("reconnecting");
    // What the server has refused the browser does not ask for again.
    if (source?.readyState === EventSource.CLOSED) setTimeout(askAgain, AGAIN_MS);
  };
  source.onmessage = (message) => {
    heardAt = new Date();
    say("live");
    for (const [name, markup] of Object.entries(JSON.parse(message.data))) {
      const part = live.querySelector(`[data-part="${name}"]`);
      if (part && !busy(part)) show(part, markup);
    }
  };
}

// Who is not logged in any more is led to where that is done.
async function askAgain() {
  if (source?.readyState !== EventSource.CLOSED) return;
  const asked = { redirect: "manual", headers: { accept: "text/html" } };
  const page = await fetch(location.href, asked).catch(() => null);
  if (page?.type === "opaqueredirect") return location.reload();
  if (source?.readyState !== EventSource.CLOSED) return;
  source = null;
  connect();
}

function disconnect() {
  source?.close();
  source = null;
  say("paused");
}

document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
connect();

// Hides the rows that the filter does not mean, also those that have just come.
function sift() {
  const wanted = filter?.value.trim().toLowerCase() ?? "";
  for (const row of document.querySelectorAll("[data-rows] tbody tr")) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
}
filter?.addEventListener("input", sift);

// Who gives a command is the same person as last time.
const by = document.querySelector("[data-by]");
if (by) {
  by.value ||= localStorage.getItem("by") ?? "";
  by.form.addEventListener("submit", () => localStorage.setItem("by", by.value));
}

const help = document.getElementById("help");
document.querySelector("[data-help]")?.addEventListener("click", () => help.showModal());
help?.addEventListener("click", (event) => event.target === help && help.close());

const places = { o: "/", t: "/topics", g: "/groups", s: "/services", e: "/events", r: "/trace", m: "/map", d: "/dead" };
let going = false;

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (going && places[event.key]) {
    location.href = places[event.key];
  } else if (event.key === "/") {
    event.preventDefault();
    (filter ?? document.querySelector("[data-find]"))?.focus();
  } else if (event.key === "?") {
    help?.showModal();
  }
  going = !going && event.key === "g";
});

// The console's script: live parts over server-sent events, a filter, a few keys.
// Every page works without it.

const live = document.querySelector("[data-live]");
const state = document.querySelector("[data-state]");
let source = null;

function say(text) {
  if (state) {
    state.textContent = text;
    state.dataset.state = text;
  }
}

// Replaces one part, and marks rows that were not there before unless most of them are new.
function show(part, markup) {
  const rows = () => [...part.querySelectorAll("tr[data-key]")];
  const known = new Set(rows().map((row) => row.dataset.key));
  const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
  part.innerHTML = markup;
  const arrived = rows().filter((row) => !known.has(row.dataset.key));
  if (arrived.length * 2 < rows().length) {
    for (const row of arrived) row.classList.add("new");
  }
  if (focused) {
    [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
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
  source.onerror = () => say("reconnecting");
  source.onmessage = (message) => {
    say("live");
    for (const [name, markup] of Object.entries(JSON.parse(message.data))) {
      const part = live.querySelector(`[data-part="${name}"]`);
      if (part && !busy(part)) show(part, markup);
    }
  };
}

function disconnect() {
  source?.close();
  source = null;
  say("paused");
}

document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
connect();

const filter = document.querySelector("[data-filter]");
filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  for (const row of document.querySelectorAll("[data-rows] tbody tr")) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
});

// Who gives a command is the same person as last time.
const by = document.querySelector("[data-by]");
if (by) {
  by.value ||= localStorage.getItem("by") ?? "";
  by.form.addEventListener("submit", () => localStorage.setItem("by", by.value));
}

const help = document.getElementById("help");
document.querySelector("[data-help]")?.addEventListener("click", () => help.showModal());
help?.addEventListener("click", (event) => event.target === help && help.close());

const places = { o: "/", t: "/topics", g: "/groups", e: "/events", d: "/dead" };
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

// Topics and records: a row opens in place, a search goes on, a tail follows, commands are copied.
// Every page works without it: links lead to the same.

const records = document.querySelector("[data-records]");
const none = document.querySelector("[data-none]");
const looked = document.querySelector("[data-looked]");
const older = document.querySelector("[data-older]");
const tailState = document.querySelector("[data-tail-state]");
// Rows of a tail that are kept on the page.
const ROWS_KEPT = 500;

async function open(link) {
  const row = link.closest("tr");
  const next = row.nextElementSibling;
  const before = link.getAttribute("href");
  if (link.ariaExpanded === "true") {
    next?.classList.contains("detail") && next.remove();
  } else {
    const answer = await fetch(link.dataset.open);
    const detail = document.createElement("tr");
    detail.className = "detail";
    const cell = detail.insertCell();
    cell.colSpan = row.cells.length;
    if (answer.ok) cell.innerHTML = await answer.text();
    else cell.textContent = "The record cannot be read now; it may have been deleted.";
    row.after(detail);
  }
  const opened = link.ariaExpanded !== "true";
  link.ariaExpanded = opened;
  row.classList.toggle("opened", opened);
  history.replaceState(null, "", before);
  // The link leads back to where the page was.
  const url = new URL(location);
  if (opened) url.searchParams.delete("open");
  else url.searchParams.set("open", row.dataset.key.split("/").slice(-2).join("/"));
  link.setAttribute("href", url.pathname + url.search + url.hash);
}

records?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-open]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  open(link).catch(() => (location.href = link.getAttribute("href")));
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without a secure connection there is no clipboard: what is selected can be copied by hand.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

// Markup comes from this server, where everything of a record is escaped.
function rowsOf(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup;
  return template.content;
}

function search(url) {
  const source = new EventSource(url);
  source.onmessage = (message) => {
    const said = JSON.parse(message.data);
    if (said.rows) {
      none?.remove();
      records.append(rowsOf(said.rows));
    }
    if (said.looked) looked.innerHTML = said.looked;
    if (said.trouble) looked.textContent = said.trouble;
    if (said.older !== undefined) {
      older.hidden = !said.older;
      if (said.older) older.href = location.pathname + said.older;
    }
    if (said.last) {
      source.close();
      if (none?.isConnected && !said.older) none.textContent = "Nothing found.";
    }
  };
  // It is not begun again from where it began: the link goes on from where it was.
  source.onerror = () => {
    source.close();
    looked.textContent = "The search was interrupted.";
  };
  addEventListener("pagehide", () => source.close());
}

function tail(url) {
  let source = null;
  let out = 0;
  const say = (text) => {
    tailState.textContent = text;
    tailState.dataset.state = text;
  };
  const follow = () => {
    source = new EventSource(url);
    source.onopen = () => say("live");
    source.onerror = () => say("reconnecting");
    source.onmessage = (message) => {
      const said = JSON.parse(message.data);
      if (said.trouble) {
        say("reconnecting");
        looked.textContent = said.trouble;
        return;
      }
      say("live");
      out += said.not_shown;
      if (said.rows) {
        none?.remove();
        records.prepend(rowsOf(said.rows));
        for (const row of [...records.rows].slice(ROWS_KEPT)) row.remove();
      }
      looked.textContent = out ? `${out.toLocaleString("en")} came too fast to be shown` : "Following.";
    };
  };
  const pause = () => {
    source?.close();
    source = null;
    say("paused");
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : source || follow()));
  follow();
}

if (records?.dataset.search) search(records.dataset.search);
if (records?.dataset.tail) tail(records.dataset.tail);

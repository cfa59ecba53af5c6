// Refreshes the page in place, where scripts run. Without them the page reloads itself.
(() => {
  "use strict";
  const every = Number(document.body.dataset.refresh) * 1000;
  let etag = null;

  const opened = () => [...document.querySelectorAll("details[open][id]")].map((one) => one.id);

  function take(text) {
    const found = new DOMParser().parseFromString(text, "text/html");
    const live = document.getElementById("live");
    const next = found.getElementById("live");
    if (!next) return;
    const open = opened();
    const focused = document.activeElement && live.contains(document.activeElement)
      ? document.activeElement.getAttribute("href") : null;
    live.replaceChildren(...document.importNode(next, true).childNodes);
    for (const id of open) {
      const one = document.getElementById(id);
      if (one) one.open = true;
    }
    if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.title = found.title;
    const icon = found.querySelector('link[rel="icon"]');
    if (icon) document.querySelector('link[rel="icon"]').replaceWith(document.importNode(icon, true));
    tell();
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-cache" });
      const newer = answer.headers.get("etag");
      if (answer.ok && (newer === null || newer !== etag)) take(await answer.text());
      if (answer.ok) etag = newer;
      document.body.classList.toggle("cut-off", !answer.ok);
    } catch {
      document.body.classList.add("cut-off");
    }
  }

  function ago(seconds) {
    if (seconds < 5) return "just now";
    if (seconds < 120) return `${Math.round(seconds)} s ago`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
    return null;
  }

  function tell() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      time.title ||= time.textContent;
      time.textContent = ago((Date.now() - Date.parse(time.dateTime)) / 1000) ?? time.title;
    }
  }

  tell();
  setInterval(tell, 1000);
  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();

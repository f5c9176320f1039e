// Keeps a page up to date. One stream says which topics have changed; the part of the page that shows one of them is
// loaded again and morphed, so that focus, scroll and selection stay. Everything works without this file, by reloading.
"use strict";

(() => {
  const body = document.body;
  const poll = 3000;
  let skew = Date.now() / 1000 - Number(body.dataset.now || Date.now() / 1000);
  let waiting = false;
  let busy = false;

  const say = (text) => {
    const said = document.getElementById("said");
    if (said && said.textContent !== text) said.textContent = text;
  };

  const topics = () => (document.getElementById("live")?.dataset.topics || "").split(" ");

  const selecting = () => {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && document.getElementById("live")?.contains(selection.anchorNode));
  };

  // One request at a time; what comes meanwhile is one more request.
  const refresh = async () => {
    if (busy || document.hidden || selecting()) {
      waiting = true;
      return;
    }
    busy = true;
    waiting = false;
    try {
      await htmx.ajax("GET", location.href, { target: "#live", select: "#live", swap: "outerMorph" });
    } catch {
      // The stream tells when the server is back.
    } finally {
      busy = false;
    }
    tick();
    if (waiting) setTimeout(refresh, 100);
  };

  const age = (seconds) => {
    if (seconds < 1) return `${Math.max(0, seconds).toFixed(1)} s`;
    if (seconds < 60) return `${seconds.toFixed(0)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 86400) {
      const hours = Math.floor(seconds / 3600);
      const minutes = Math.floor((seconds % 3600) / 60);
      return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
    }
    const days = Math.floor(seconds / 86400);
    return days === 1 ? "1 day" : `${days.toLocaleString("en")} days`;
  };

  const tick = () => {
    const now = Date.now() / 1000 - skew;
    for (const element of document.querySelectorAll("time[data-since]")) {
      const text = age(now - Number(element.dataset.since));
      if (element.textContent !== text) element.textContent = text;
    }
  };

  const show = (state) => {
    const words = { live: "Live", outage: "Store not reached", ended: "Not watching", starting: "Starting", lost: "Console not reached" };
    const link = document.getElementById("link");
    if (!link || link.classList.contains(state)) return;
    const first = link.dataset.shown === undefined;
    link.className = `link ${state}`;
    link.dataset.shown = state;
    document.getElementById("link-text").textContent = words[state] || state;
    if (!first || state !== "live") say(words[state] || state);
  };

  // A browser has six connections to a server, and each stream takes one. So only a page that is seen has a stream. Its
  // address says which version the page was made from: after a break the server names all that has changed since.
  let stream = null;
  const rest = () => {
    stream?.close();
    stream = null;
  };

  const listen = () => {
    rest();
    stream = new EventSource(body.dataset.events);
    stream.addEventListener("change", (event) => {
      const news = JSON.parse(event.data);
      skew = Date.now() / 1000 - news.now;
      show(news.state);
      const revision = document.getElementById("revision");
      if (revision) revision.textContent = news.revision;
      for (const count of document.querySelectorAll("[data-count]")) {
        count.textContent = news.counts[count.dataset.count].toLocaleString("en");
      }
      const mine = topics();
      if (news.topics.includes("link") || news.topics.some((topic) => mine.includes(topic))) refresh();
    });
    stream.addEventListener("end", () => {
      rest();
      show("lost");
    });
    // Without an answer the browser tries again by itself. After a refusal it doesn't: the session has ended.
    stream.addEventListener("error", () => show("lost"));
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) rest();
    else listen();
    if (!document.hidden && waiting) refresh();
  });
  document.addEventListener("selectionchange", () => {
    if (waiting && !selecting()) refresh();
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      document.getElementById("find")?.focus();
    }
  });
  setInterval(tick, 1000);
  setInterval(() => {
    if (topics().includes("poll")) refresh();
  }, poll);
  document.querySelector(".conflict")?.focus();
  if (!document.hidden) listen();
})();

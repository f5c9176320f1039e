// Returns what a screen reader would lack on the page.
const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.textContent?.trim();
const all = (selector) => [...document.querySelectorAll(selector)];
return [
  ...all("input:not([type=hidden]), textarea, button, a, select").filter((e) => !named(e)),
  ...all("th:not([scope])"),
  ...all("svg:not([aria-hidden])"),
]
  .map((e) => e.outerHTML.slice(0, 120))
  .concat(
    all("h1").length === 1 ? [] : ["not one h1"],
    all("main").length === 1 ? [] : ["not one main"],
    document.documentElement.lang ? [] : ["no language"],
  );

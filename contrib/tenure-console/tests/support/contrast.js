// Returns the texts of the page that have too little contrast with what is behind them: below 4.5, as WCAG asks for.
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (color) => {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
};
const luminance = (color) => {
  const [r, g, b] = rgb(color).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (rgb(color)[3] === 255) return color;
  }
  return getComputedStyle(document.documentElement).backgroundColor;
};
const ratios = new Map();
const poor = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.textContent.trim();
  const element = walker.currentNode.parentElement;
  if (!text || !element.checkVisibility() || element.closest(".sr, script, .skip, kbd")) continue;
  const pair = [getComputedStyle(element).color, behind(element)];
  const name = pair.join("|");
  if (!ratios.has(name)) {
    const [a, b] = pair.map(luminance);
    ratios.set(name, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  if (ratios.get(name) < 4.5) poor.add(`${element.tagName}.${element.className} ${text.slice(0, 30)}: ${ratios.get(name)}`);
}
if (ratios.size < 3) poor.add("hardly any text was found");
return [...poor];

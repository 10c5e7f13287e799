// The address says which page is shown; keys, theme and focus.

const main = document.getElementById("main");
let shown = 0;

async function show() {
  const turn = (shown += 1);
  const [path, search] = location.hash.replace(/^#/, "").split("?");
  const query = new URLSearchParams(search || "");
  let page = "matrix";
  let content;
  try {
    if (path.startsWith("/s/")) {
      page = "scenario";
      content = await scenarioPage(decodeURIComponent(path.slice(3)), query);
    } else if (path === "/walkthrough" && index.walkthrough) {
      page = "walkthrough";
      content = await walkthroughPage();
    } else content = matrixPage(query);
  } catch (error) {
    content = [el("h1", { tabindex: "-1" }, "This page could not be drawn"), el("p", { class: "lead" }, String(error))];
    console.error(error);
  }
  // A slower page that was asked for earlier must not take the place of a later one.
  if (turn !== shown) return;
  main.replaceChildren(...content.flat().filter(Boolean));
  makeReachable(main);
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (turn > 1) {
    scrollTo(0, 0);
    main.querySelector("h1")?.focus({ preventScroll: true });
  }
  document.documentElement.dataset.ready = page;
}

/** Set or step through the themes: as the system has it, light, dark. */
function setTheme(theme) {
  const button = document.getElementById("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  button.textContent = `Theme: ${theme || "system"}`;
  try {
    if (theme) localStorage.setItem("sixhops-theme", theme);
    else localStorage.removeItem("sixhops-theme");
  } catch {
    // A page from disk may have no storage; the theme then lasts as long as the page.
  }
}

function savedTheme() {
  try {
    return localStorage.getItem("sixhops-theme") || "";
  } catch {
    return "";
  }
}

/** Move the focus to the next of some elements, after the one that has it now. */
function moveTo(selector, direction) {
  const all = [...main.querySelectorAll(selector)].filter((element) => element.offsetParent !== null);
  if (!all.length) return;
  const at = all.findIndex((element) => element === document.activeElement || element.contains(document.activeElement));
  const next = at < 0 ? (direction > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + direction));
  const target = all[next].matches("button, [tabindex]") ? all[next] : all[next].querySelector("button");
  target.focus();
  target.scrollIntoView({ block: "center" });
}

const KEYS = {
  "/": () => {
    if (!document.getElementById("search")) location.hash = `#/${filterQuery()}`;
    requestAnimationFrame(() => setTimeout(() => document.getElementById("search")?.focus()));
  },
  "?": () => document.getElementById("help").showModal(),
  j: () => moveTo("button.message", 1),
  k: () => moveTo("button.message", -1),
  f: () => moveTo("[data-found]", 1),
  n: () => main.querySelector('[data-pager="next"]')?.click(),
  p: () => main.querySelector('[data-pager="previous"]')?.click(),
  u: () => {
    location.hash = `#/${filterQuery()}`;
  },
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select, textarea") || document.querySelector("dialog[open]");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

function drawBrand() {
  const brand = document.querySelector(".brand svg");
  HOPS.forEach((hop, at) => brand.append(draw("line", { x1: 8 + at * 19, x2: 27 + at * 19, y1: 10, y2: 10, stroke: hopColour(hop), "stroke-width": 4 })));
  LANES.forEach((_, at) => brand.append(draw("circle", { cx: 8 + at * 19, cy: 10, r: 4.5, fill: "var(--paper)", stroke: "var(--ink)", "stroke-width": 2 })));
}

drawBrand();
setTheme(savedTheme());
document.getElementById("theme").addEventListener("click", () => {
  const order = ["", "light", "dark"];
  setTheme(order[(order.indexOf(document.documentElement.dataset.theme || "") + 1) % order.length]);
});
document.getElementById("keys").addEventListener("click", KEYS["?"]);
// The address belongs to the pages, so this link can't use it.
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.querySelector('[data-page="walkthrough"]').hidden = !index.walkthrough;
addEventListener("hashchange", show);
show();

// Title, facts, the link that restores the state, and the tabs.

const facts = config.facts.map((fact) => el("span", {}, fact));
const link = button("Copy link", copyLink, { class: "gae-quiet" });
const tablist = el("div", { role: "tablist", "aria-label": "Views", class: "gae-tabs" });
const tabs = config.tabs.map(([name, label]) =>
  el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => show(name),
  }, label),
);
tablist.append(...tabs);
element.replaceChildren(
  el("header", { class: "gae-header" },
    el("div", {},
      el("p", { class: "gae-kicker" }, config.method),
      el("h1", {}, config.title),
      el("p", { class: "gae-facts" }, ...facts),
    ),
    el("div", { class: "gae-links" }, config.url ? el("a", { href: config.url, target: "_blank", rel: "noopener" }, "Model on the Hub") : null, link),
  ),
  tablist,
);

async function copyLink() {
  flushState();
  try {
    await navigator.clipboard.writeText(window.location.href);
    link.textContent = "Copied";
  } catch {
    link.textContent = "Copy the address of this page";
  }
  setTimeout(() => { link.textContent = "Copy link"; }, 2500);
}

function show(name) {
  for (const [index, [other]] of config.tabs.entries()) {
    const isShown = other === name;
    tabs[index].setAttribute("aria-selected", String(isShown));
    tabs[index].tabIndex = isShown ? 0 : -1;
    const panel = document.getElementById(`panel-${other}`);
    if (!panel) continue;
    panel.toggleAttribute("data-shown", isShown);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${other}`);
  }
  tabs.find((tab) => tab.id === `tab-${name}`).scrollIntoView({ block: "nearest", inline: "center" });
  window.gaeShown = name;
  window.dispatchEvent(new CustomEvent("gae:show", { detail: name }));
  writeState({ tab: name === config.tabs[0][0] ? null : name });
}

tablist.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  const index = tabs.indexOf(document.activeElement);
  const next = tabs[(index + move + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

const wanted = readState("tab", config.tabs[0][0]);
const start = config.tabs.some(([name]) => name === wanted) ? wanted : config.tabs[0][0];
// the panels appear in the page after the header
(function waitForPanels() {
  if (config.tabs.every(([name]) => document.getElementById(`panel-${name}`))) show(start);
  else requestAnimationFrame(waitForPanels);
})();

// Title, facts, the link that restores the state, the tabs, and the class that all of them use.

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
  buildClassControls(),
);

// Controls of the class and of guidance, which the panels read from window.gaeClass; null without classes.
function buildClassControls() {
  if (!config.classes) return null;
  const { options, maxGuidance, guidedTabs } = config.classes;
  const [chosen] = options.find(([value]) => String(value) === readState("class")) ?? [null];
  const choice = { ...config.classes, classLabel: chosen, guidance: readNumber("guidance", 1, 0, maxGuidance) };
  window.gaeClass = choice;
  const select = el("select", { onchange: () => choose({ classLabel: select.value === "" ? null : Number(select.value) }) },
    el("option", { value: "" }, "Each its own"),
    ...options.map(([value, name]) => el("option", { value, selected: value === chosen }, name)));
  const text = readout(choice.guidance.toFixed(2));
  const slider = el("input", { type: "range", min: 0, max: maxGuidance, step: 0.25, value: choice.guidance, oninput: () => {
    text.textContent = Number(slider.value).toFixed(2);
    choose({ guidance: Number(slider.value) });
  } });

  function choose(change) {
    Object.assign(choice, change);
    writeState({ class: choice.classLabel, guidance: choice.guidance === 1 ? null : choice.guidance });
    window.dispatchEvent(new CustomEvent("gae:class"));
  }

  const guidance = field("Guidance", el("span", { class: "gae-range" }, slider, text));
  const controls = el("div", { class: "gae-toolbar gae-classes", role: "group", "aria-label": "Class" }, field("Class", select), guidance);
  window.addEventListener("gae:show", ({ detail }) => {
    controls.hidden = !choice.tabs.includes(detail);
    guidance.hidden = !guidedTabs.includes(detail);
  });
  return controls;
}

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

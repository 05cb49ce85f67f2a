// One slider for each active direction of the latent space, with a strip of what it does.

const axes = config.axes;
const state = {
  example: readState("base") === null ? null : readNumber("base", null, 0, config.examples.length - 1),
  num: Math.min(axes.length, Math.max(config.numShown, readNumber("axes", config.numShown, 1, axes.length))),
  values: [],
  names: readNames(),
};
let rows = [];
let current = null;
let waiting = null;

const output = el("div", { class: "gae-frame" });
const base = el("select", { onchange: () => reset(base.value === "" ? null : Number(base.value)) },
  el("option", { value: "" }, "Mean of the examples"),
  ...config.examples.map((example, index) => el("option", { value: index, selected: index === state.example }, example.label === null ? `Example ${index + 1}` : `Example ${index + 1} (${example.label})`)));
const list = el("div", { class: "gae-axes" });
const more = button("", () => { state.num = Math.min(axes.length, state.num + config.numShown); build(); refresh(); }, { class: "gae-quiet" });

element.replaceChildren(
  el("div", { class: "gae-split gae-explore" },
    el("aside", { class: "gae-card gae-sticky", "aria-label": "Image" }, output,
      field("Start from", base),
      el("div", { class: "gae-actions" }, button("Reset sliders", () => reset(state.example))),
      downloads(
        ["Image, PNG", () => current && saveUri(current, "explored.png")],
        ["Latents, NPZ", () => ask("explored_latents", { ...request(), format: "npz" })],
        ["Latents, CSV", () => ask("explored_latents", { ...request(), format: "csv" })],
        ["Names, JSON", () => saveText(JSON.stringify(Object.fromEntries(axes.flatMap((axis, i) => state.names[i] ? [[axis.name, state.names[i]]] : [])), null, 1), "application/json", "names.json")],
      ),
    ),
    el("section", { "aria-label": "Directions" },
      el("p", { class: "gae-hint" }, config.orderedBy), list, more),
  ),
);

function readNames() {
  const names = {};
  for (const part of (readState("names") ?? "").split("~")) {
    const [index, name] = [Number(part.split(".")[0]), part.slice(part.indexOf(".") + 1)];
    if (part && Number.isInteger(index) && index >= 0 && index < axes.length) names[index] = name.slice(0, 40);
  }
  return names;
}

function baseValues() {
  return state.example === null ? axes.map((axis) => axis.mean) : config.coordinates[state.example];
}

function readValues() {
  const values = (readState("z") ?? "").split("_").filter((text) => text !== "").map(Number);
  return baseValues().map((value, i) => (Number.isFinite(values[i]) ? values[i] : value));
}

function request() {
  return { values: state.values.slice(0, state.num), example: state.example };
}

function remember() {
  const start = baseValues();
  const isMoved = state.values.some((value, i) => Math.abs(value - start[i]) > 1e-6);
  writeState({
    base: state.example,
    z: isMoved ? state.values.slice(0, state.num).map((value) => Number(value.toFixed(3))).join("_") : null,
    axes: state.num === config.numShown || state.num === axes.length ? (state.num > config.numShown ? state.num : null) : state.num,
    names: Object.entries(state.names).filter(([, name]) => name).map(([i, name]) => `${i}.${name}`).join("~"),
  });
}

function refresh() {
  ask("explore", request());
  askForStrips();
}

function askForStrips() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    remember();
    ask("traverse", { ...request(), axes: rows.map((row) => row.index), num_steps: rows.length > 8 ? 5 : 7 });
  }, 60);
}

function set(row, value, isFinal) {
  state.values[row.index] = value;
  row.slider.value = value;
  row.text.textContent = value.toFixed(2);
  row.slider.setAttribute("aria-valuetext", `${labelOf(row.index)}: ${value.toFixed(2)}`);
  ask("explore", request());
  if (isFinal) askForStrips();
}

function labelOf(index) {
  return state.names[index] || axes[index].name;
}

function build() {
  rows = axes.slice(0, state.num).map((axis, index) => {
    const value = state.values[index];
    const row = { index, text: el("output", {}, value.toFixed(2)), strip: el("div", { class: "gae-film", role: "group", "aria-label": `What ${axis.name} does` }) };
    row.slider = el("input", {
      type: "range", min: axis.low, max: axis.high, step: (axis.high - axis.low) / 200, "aria-label": `Value of ${labelOf(index)}`,
      oninput: () => set(row, Number(row.slider.value), false), onchange: () => askForStrips(),
    });
    row.slider.value = value;
    row.name = el("input", {
      type: "text", class: "gae-name", placeholder: axis.name, maxlength: 40, value: state.names[index] ?? "", "aria-label": `Name of ${axis.name}`,
      oninput: () => { state.names[index] = row.name.value.replace(/[~]/g, ""); row.slider.setAttribute("aria-label", `Value of ${labelOf(index)}`); remember(); },
    });
    row.root = el("div", { class: "gae-axis" },
      el("div", { class: "gae-axis-head" }, row.name, el("span", { class: "gae-score", title: config.scoreTitle }, axis.score)),
      el("span", { class: "gae-range" }, row.slider, row.text), row.strip);
    return row;
  });
  list.replaceChildren(...rows.map((row) => row.root));
  more.hidden = state.num >= axes.length;
  const rest = axes.length - state.num;
  more.textContent = rest > config.numShown ? `Show ${config.numShown} of ${rest} more` : `Show ${rest} more`;
}

function reset(example) {
  state.example = example;
  state.values = [...baseValues()];
  build();
  refresh();
}

onAnswer("explore", (answer) => {
  current = answer.image;
  if (output.firstChild) output.firstChild.src = current;
  else output.append(picture(current, "Image at the sliders' values"));
});
onAnswer("traverse", (answer) => {
  const numSteps = answer.images.length / answer.axes.length;
  answer.axes.forEach((index, i) => {
    const row = rows.find((other) => other.index === index);
    if (!row) return;
    const axis = axes[index];
    row.strip.replaceChildren(...answer.images.slice(i * numSteps, (i + 1) * numSteps).map((uri, step) => {
      const value = axis.low + ((axis.high - axis.low) * step) / (numSteps - 1);
      return button(picture(uri, ""), () => set(row, value, true), { class: "gae-thumb", "aria-label": `Set ${labelOf(index)} to ${value.toFixed(2)}` });
    }));
  });
});
onAnswer("explored_latents", (answer) => saveUri(answer.file, answer.name));
state.values = readValues();
build();
whenShown(refresh);
